"""RP-initiated logout (OIDC RP-Initiated Logout 1.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tegata.flows.authorize import current_session
from tegata.flows.browser import Browser
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.identifiers import SessionId
from tegata.protocol import logout as rules
from tegata.protocol.client import Client
from tegata.protocol.errors import Refused
from tegata.protocol.logout import LogoutRequest
from tegata.protocol.redirect_uris import problem_with
from tegata.protocol.subject import subject_for
from tegata.storage.records import FoundSession
from tegata.telemetry.audit import Origin, event


@dataclass(frozen=True, slots=True)
class AskUser:
    """The user must confirm. `client` may be unknown."""

    found: FoundSession
    client: Client | None


@dataclass(frozen=True, slots=True)
class SignedOut:
    """The session has ended, or there was none. `automatic`: go to `continue_uri` without a click."""

    continue_uri: str | None
    automatic: bool
    state: str | None


async def end_session(
    services: Services,
    loaded: LoadedTenant,
    request: LogoutRequest,
    browser: Browser,
    origin: Origin,
    *,
    confirmed: bool = False,
) -> AskUser | SignedOut:
    """End the browser's session, or say that the user must be asked. Raises `Refused`."""
    hint = _hint(services, loaded, request)
    client = await _client(services, loaded, rules.client_id_for(request, hint))
    found = await current_session(services, loaded, browser, client_id=None)
    decision = rules.decide(
        request,
        hint,
        client,
        signed_in=found is not None,
        same_person=_same_person(loaded, hint, client, found),
    )
    if decision.continue_uri and problem_with(decision.continue_uri, allow_loopback_http=services.allow_loopback_http):
        raise Refused("invalid_request", "post_logout_redirect_uri is not allowed on this server", "not_allowed")
    if found is not None:
        if decision.ask and not confirmed:
            return AskUser(found, client)
        await _end(services, loaded, found.session.session_id, client, origin, actor=str(found.user.user_id))
    elif (hinted := _hinted_session(hint)) is not None:
        # The session went idle or its cookie is gone; what hangs on it has still to end.
        await _end(services, loaded, hinted, client, origin, actor=None)
    return SignedOut(decision.continue_uri, decision.automatic or confirmed, request.state)


def _hint(services: Services, loaded: LoadedTenant, request: LogoutRequest) -> dict[str, Any] | None:
    """Return the hint's claims. One that we did not sign is an error page, never a redirect (§4)."""
    if request.id_token_hint is None:
        return None
    claims = services.own_tokens.hint_claims(loaded, request.id_token_hint)
    if claims is None:
        raise Refused("invalid_request", "id_token_hint is not valid", "hint_signature")
    return claims


async def _client(services: Services, loaded: LoadedTenant, client_id: str | None) -> Client | None:
    return None if client_id is None else await services.directory.find_client(loaded.tenant_id, client_id)


def _same_person(
    loaded: LoadedTenant, hint: dict[str, Any] | None, client: Client | None, found: FoundSession | None
) -> bool:
    if hint is None or client is None or found is None:
        return False
    subject = subject_for(found.user.user_id, client.metadata, pairwise_salt=loaded.tenant.pairwise_salt)
    return hint.get("sid") == str(found.session.session_id) or hint.get("sub") == subject


def _hinted_session(hint: dict[str, Any] | None) -> SessionId | None:
    """Return the session that a verified hint belongs to (`sid`, RP-Initiated Logout §4)."""
    try:
        return SessionId(UUID(str((hint or {}).get("sid"))))
    except ValueError:
        return None


async def _end(
    services: Services,
    loaded: LoadedTenant,
    session_id: SessionId,
    client: Client | None,
    origin: Origin,
    *,
    actor: str | None,
) -> None:
    now = services.clock()
    ended = event(
        "session.ended",
        now=now,
        origin=origin,
        actor=actor,
        client_id=client.client_id if client is not None else None,
        reason="logout",
        details={"session": str(session_id)},
    )
    await services.storage.end_session(loaded.tenant_id, session_id, now=now, event=ended)
