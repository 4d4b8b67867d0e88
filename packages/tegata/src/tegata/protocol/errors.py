"""The errors a client reads (RFC 6749 §4.1.2.1 and §5.2, OIDC Core §3.1.2.6), and the ones a person reads.

One constructor for each code, so that its HTTP status has one home. `reason` is a stable word for logs, metrics and
audit; it never reaches the client. `description` does, and never quotes what was sent.
"""

from __future__ import annotations


class OAuthError(Exception):
    """A refusal in the words of the protocol."""

    def __init__(self, code: str, description: str, reason: str, status: int = 400) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.description = description
        self.reason = reason
        self.status = status


class Refused(Exception):
    """A refusal that only a person may see: the redirect URI is not verified, so nothing may be sent there."""

    def __init__(self, code: str, description: str, reason: str, status: int = 400) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.description = description
        self.reason = reason
        self.status = status


def invalid_request(description: str, reason: str = "malformed") -> OAuthError:
    return OAuthError("invalid_request", description, reason)


def invalid_client(description: str, reason: str) -> OAuthError:
    return OAuthError("invalid_client", description, reason, status=401)


def invalid_grant(description: str, reason: str) -> OAuthError:
    return OAuthError("invalid_grant", description, reason)


def unauthorized_client(description: str, reason: str = "not_allowed") -> OAuthError:
    return OAuthError("unauthorized_client", description, reason)


def unsupported_grant_type(description: str) -> OAuthError:
    return OAuthError("unsupported_grant_type", description, "unsupported_grant_type")


def unsupported_response_type(description: str) -> OAuthError:
    return OAuthError("unsupported_response_type", description, "unsupported_response_type")


def unsupported_token_type(description: str) -> OAuthError:
    return OAuthError("unsupported_token_type", description, "unsupported_token_type")


def invalid_scope(description: str, reason: str = "scope_not_allowed") -> OAuthError:
    return OAuthError("invalid_scope", description, reason)


def invalid_target(description: str, reason: str = "resource_not_allowed") -> OAuthError:
    """RFC 8707 §2."""
    return OAuthError("invalid_target", description, reason)


def access_denied(reason: str = "denied_by_user") -> OAuthError:
    return OAuthError("access_denied", "the request was denied", reason)


def login_required(reason: str) -> OAuthError:
    return OAuthError("login_required", "the user has to sign in, and prompt=none forbids asking", reason)


def consent_required() -> OAuthError:
    return OAuthError("consent_required", "the user has to consent, and prompt=none forbids asking", "no_consent")


def interaction_required(reason: str) -> OAuthError:
    return OAuthError("interaction_required", "the user has to choose, and prompt=none forbids asking", reason)


def unmet_authentication_requirements() -> OAuthError:
    """OIDC Core Error Code unmet_authentication_requirements 1.0 §2."""
    return OAuthError(
        "unmet_authentication_requirements", "no way of signing in here reaches the requested acr", "acr_unmet"
    )


def request_not_supported() -> OAuthError:
    return OAuthError("request_not_supported", "the request parameter is not supported", "request_object")


def request_uri_not_supported() -> OAuthError:
    return OAuthError("request_uri_not_supported", "the request_uri parameter is not supported", "request_object")


def invalid_token(description: str, reason: str) -> OAuthError:
    """RFC 6750 §3.1."""
    return OAuthError("invalid_token", description, reason, status=401)


def insufficient_scope(description: str) -> OAuthError:
    """RFC 6750 §3.1."""
    return OAuthError("insufficient_scope", description, "insufficient_scope", status=403)


def server_error() -> OAuthError:
    return OAuthError("server_error", "something went wrong on our side", "unexpected", status=500)


def temporarily_unavailable(reason: str) -> OAuthError:
    return OAuthError("temporarily_unavailable", "please try again in a moment", reason, status=503)
