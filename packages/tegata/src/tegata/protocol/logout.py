"""RP-initiated logout: what may be answered to whom (OIDC RP-Initiated Logout 1.0 §2, §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tegata.protocol.client import Client
from tegata.protocol.errors import Refused
from tegata.protocol.parameters import Parameters


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """The parameters of an end_session request."""

    id_token_hint: str | None
    client_id: str | None
    post_logout_redirect_uri: str | None
    state: str | None


@dataclass(frozen=True, slots=True)
class LogoutDecision:
    """`ask`: the user must confirm. `continue_uri`: where to go afterwards, verified. `automatic`: without a click."""

    ask: bool
    continue_uri: str | None
    automatic: bool


def parse(parameters: Parameters) -> LogoutRequest:
    """Read the parameters. Raises `Refused` for repeated ones: nothing may be sent to an unverified URI."""
    if parameters.repeated:
        raise Refused("invalid_request", "a parameter stands more than once", "parameter_repeated")
    return LogoutRequest(
        parameters.get("id_token_hint"),
        parameters.get("client_id"),
        parameters.get("post_logout_redirect_uri"),
        parameters.get("state"),
    )


def client_id_for(request: LogoutRequest, hint: dict[str, Any] | None) -> str | None:
    """Return the client that asks: by the hint's audience, or by name; they must agree (§2)."""
    hinted = hint.get("aud") if hint else None
    if hinted is not None and not isinstance(hinted, str):
        raise Refused("invalid_request", "id_token_hint is not valid", "hint_audience")
    if request.client_id is not None and hinted is not None and request.client_id != hinted:
        raise Refused("invalid_request", "id_token_hint is for another client_id", "hint_client_mismatch")
    return hinted or request.client_id


def decide(
    request: LogoutRequest,
    hint: dict[str, Any] | None,
    client: Client | None,
    *,
    signed_in: bool,
    same_person: bool,
) -> LogoutDecision:
    """Decide. Without a hint for the person signed in, anybody could have sent the browser here: ask (§6).

    `signed_in`: the browser has a session; `same_person`: the hint is about its session or its user.
    Raises `Refused` if a post_logout_redirect_uri is sent that is not registered for the client (§3): an error page,
    and nobody is logged out.
    """
    uri = request.post_logout_redirect_uri
    if uri is not None:
        if client is None or client.metadata.disabled:
            raise Refused(
                "invalid_request", "post_logout_redirect_uri needs an id_token_hint or client_id", "no_client"
            )
        if uri not in client.metadata.post_logout_redirect_uris:
            raise Refused(
                "invalid_request",
                "post_logout_redirect_uri is not registered for this client",
                "post_logout_redirect_uri_not_registered",
            )
    return LogoutDecision(ask=signed_in and not same_person, continue_uri=uri, automatic=hint is not None)
