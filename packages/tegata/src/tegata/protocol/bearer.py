"""Bearer tokens at our own resource, UserInfo (RFC 6750 §2)."""

from __future__ import annotations

from tegata.protocol.errors import OAuthError, invalid_request, invalid_token
from tegata.protocol.parameters import Parameters


def read(authorization: str | None, form: Parameters | None) -> str:
    """Return the token from the header or, in a form-encoded body, from `access_token`; never from the query.

    Raises `invalid_request` for both at once (RFC 6750 §2) and `invalid_token` with reason `token_missing` for none.
    """
    in_body = form.get("access_token") if form is not None else None
    if authorization is None:
        if in_body is None:
            raise invalid_token("an access token is required", "token_missing")
        return in_body
    if in_body is not None:
        raise invalid_request("the access token stands in the header and in the body", "token_twice")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise invalid_token("an access token is required", "token_missing")
    return token.strip()


def challenge(error: OAuthError | None, *, realm: str) -> str:
    """Return the value of WWW-Authenticate (RFC 6750 §3). Without a token in the request it carries no error (§3.1).

    `realm` is our own issuer and descriptions are our own constants: nothing a client sent is quoted here.
    """
    parts = [f'realm="{realm}"']
    if error is not None and error.reason != "token_missing":
        parts += [f'error="{error.code}"', f'error_description="{error.description}"']
    return "Bearer " + ", ".join(parts)
