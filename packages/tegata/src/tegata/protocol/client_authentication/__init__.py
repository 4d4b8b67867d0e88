"""How a client proves who it is (RFC 6749 §2.3, OIDC Core §9): one module for each kind of credential."""
