"""Multi-tenant OAuth 2.0 and OpenID Connect identity server. One sentence per package in ARCHITECTURE.md §2.1."""
