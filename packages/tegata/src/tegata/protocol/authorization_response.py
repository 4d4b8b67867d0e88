"""The answer of the authorization endpoint, as parameters for the client (RFC 6749 §4.1.2, RFC 9207)."""

from __future__ import annotations

from urllib.parse import urlencode

from tegata.protocol.authorization_request import AnswerTo
from tegata.protocol.errors import OAuthError


def success(target: AnswerTo, *, code: str, issuer: str) -> dict[str, str]:
    """Return code, state and iss."""
    return _with_state(target, {"code": code, "iss": issuer})


def failure(target: AnswerTo, error: OAuthError, *, issuer: str) -> dict[str, str]:
    """Return error, error_description, state and iss (RFC 9207 §2 asks for it in errors as well)."""
    return _with_state(target, {"error": error.code, "error_description": error.description, "iss": issuer})


def redirect_location(redirect_uri: str, parameters: dict[str, str]) -> str:
    """Return the URI with the parameters added to its query, which is kept (RFC 6749 §3.1.2).

    Nothing is parsed and put together again: `com.example.app:///cb` would come out as another address.
    """
    if not parameters:
        return redirect_uri
    separator = "?" if "?" not in redirect_uri else "" if redirect_uri.endswith(("?", "&")) else "&"
    return f"{redirect_uri}{separator}{urlencode(parameters)}"


def _with_state(target: AnswerTo, parameters: dict[str, str]) -> dict[str, str]:
    if target.state is not None:
        parameters["state"] = target.state
    return parameters
