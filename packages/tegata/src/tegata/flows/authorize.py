"""The authorization endpoint: begin, decide what comes next, finish (RFC 6749 §4.1, OIDC Core §3.1.2).

A request is stored only when a page is needed; with a living session and consent it costs two calls of the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from tegata.crypto.digests import digest_of, new_secret
from tegata.flows.browser import Answer, Browser, NeedsPage
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.identifiers import Digest, GrantId
from tegata.protocol import authorization_request, authorization_response
from tegata.protocol.authorization_request import AnswerTo, AuthorizationRequest
from tegata.protocol.client import Client
from tegata.protocol.errors import OAuthError, Refused, access_denied, login_required
from tegata.protocol.interaction import Situation, Step, next_step
from tegata.protocol.parameters import Parameters
from tegata.protocol.subject import subject_for
from tegata.storage.records import CodeRecord, FoundSession, GrantRecord, InteractionRecord
from tegata.telemetry.audit import Origin, event


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request on its way: what was sent, by whom, and since when."""

    parameters: Parameters
    client: Client
    target: AnswerTo
    request: AuthorizationRequest
    begun_at: float
    handle: str | None


async def begin(
    services: Services, loaded: LoadedTenant, parameters: Parameters, browser: Browser, origin: Origin
) -> Answer | NeedsPage:
    """Answer an authorization request, or say which page is needed. Raises `Refused` for what only a person may see."""
    pending = await _check(services, loaded, parameters, origin, begun_at=services.clock(), handle=None)
    return pending if isinstance(pending, Answer) else await _advance(services, loaded, pending, browser, origin)


async def resume(
    services: Services,
    loaded: LoadedTenant,
    handle: str,
    browser: Browser,
    origin: Origin,
    *,
    account_chosen: bool = False,
    approved: bool = False,
) -> Answer | NeedsPage:
    """Take up a stored request after a page. It is checked again: the client may have changed in the meantime."""
    pending = await _load(services, loaded, handle, origin)
    if isinstance(pending, Answer):
        return pending
    return await _advance(services, loaded, pending, browser, origin, account_chosen=account_chosen, approved=approved)


async def park(services: Services, loaded: LoadedTenant, parameters: Parameters, origin: Origin) -> str | Answer:
    """Store a request before anybody looks for a session, and return its handle; or answer what cannot succeed.

    For a POST from another site: SameSite cookies are not sent with it, but with the GET that follows. What is wrong
    with the request itself is said now: a stored request no longer shows which parameters were repeated.
    """
    pending = await _check(services, loaded, parameters, origin, begun_at=services.clock(), handle=None)
    return pending if isinstance(pending, Answer) else await _store(services, loaded, parameters, pending.begun_at)


async def deny(services: Services, loaded: LoadedTenant, handle: str, origin: Origin) -> Answer:
    """End a stored request because the user said no (RFC 6749 §4.1.2.1, access_denied)."""
    pending = await _load(services, loaded, handle, origin)
    if isinstance(pending, Answer):
        return pending
    if not await services.storage.drop_interaction(loaded.tenant_id, Digest(digest_of(handle))):
        raise _gone()  # answered in another window: the client gets one answer
    return _failure(services, loaded, pending.client, pending.target, access_denied(), origin=origin)


async def _load(services: Services, loaded: LoadedTenant, handle: str, origin: Origin) -> _Pending | Answer:
    digest = Digest(digest_of(handle))
    stored = await services.storage.find_interaction(loaded.tenant_id, digest, now=services.clock())
    if stored is None:
        raise _gone()
    parameters = Parameters.from_document(stored.parameters)
    pending = await _check(services, loaded, parameters, origin, begun_at=stored.created_at, handle=handle)
    if isinstance(pending, Answer):
        await services.storage.drop_interaction(loaded.tenant_id, digest)
    return pending


async def _check(
    services: Services,
    loaded: LoadedTenant,
    parameters: Parameters,
    origin: Origin,
    *,
    begun_at: float,
    handle: str | None,
) -> _Pending | Answer:
    """Check what needs no session: `Refused` until the redirect URI is known to be right, then an answer to it."""
    client = await services.directory.find_client(loaded.tenant_id, authorization_request.client_id_of(parameters))
    target = authorization_request.answer_to(parameters, client, allow_loopback_http=services.allow_loopback_http)
    assert client is not None  # answer_to refuses an unknown client
    try:
        request = authorization_request.parse(parameters, client, loaded.tenant.policy, target)
    except OAuthError as error:
        return _failure(services, loaded, client, target, error, origin=origin)
    return _Pending(parameters, client, target, request, begun_at, handle)


async def _advance(
    services: Services,
    loaded: LoadedTenant,
    pending: _Pending,
    browser: Browser,
    origin: Origin,
    *,
    account_chosen: bool = False,
    approved: bool = False,
) -> Answer | NeedsPage:
    """Decide the next step and take it."""
    found = await current_session(services, loaded, browser, client_id=pending.client.client_id)
    try:
        situation = _situation(services, loaded, pending, found, account_chosen=account_chosen, approved=approved)
        step = next_step(situation)
    except OAuthError as error:
        if pending.handle is not None:
            await services.storage.drop_interaction(loaded.tenant_id, Digest(digest_of(pending.handle)))
        return _failure(services, loaded, pending.client, pending.target, error, origin=origin)
    if step.kind == "done":
        assert found is not None  # next_step asks for a sign-in otherwise
        return await _finish(services, loaded, pending, found, origin)
    return await _page(services, loaded, pending, found, step)


async def current_session(
    services: Services, loaded: LoadedTenant, browser: Browser, *, client_id: str | None
) -> FoundSession | None:
    """Return the browser's living session at this tenant, with the user's consent for the client."""
    digest = browser.session_digest
    if digest is None:
        return None
    return await services.storage.find_session(
        loaded.tenant_id,
        digest,
        client_id=client_id,
        idle_seconds=loaded.tenant.policy.session_idle_seconds,
        now=services.clock(),
    )


def _situation(
    services: Services,
    loaded: LoadedTenant,
    pending: _Pending,
    found: FoundSession | None,
    *,
    account_chosen: bool,
    approved: bool,
) -> Situation:
    subject, consent = None, None
    if found is not None:
        salt = loaded.tenant.pairwise_salt
        subject = subject_for(found.user.user_id, pending.client.metadata, pairwise_salt=salt)
        consent = found.consent
    return Situation(
        request=pending.request,
        client=pending.client,
        session=found.session if found is not None else None,
        subject=subject,
        hinted_subject=_hinted_subject(services, loaded, pending.request),
        consented_scopes=consent.scopes if consent is not None else frozenset(),
        consented_claims=consent.claims if consent is not None else frozenset(),
        consented_resources=consent.resources if consent is not None else frozenset(),
        begun_at=pending.begun_at,
        now=services.clock(),
        account_chosen=account_chosen,
        approved=approved,
    )


def _hinted_subject(services: Services, loaded: LoadedTenant, request: AuthorizationRequest) -> str | None:
    """OIDC Core §3.1.2.1. A hint that we did not sign, or for another client, hints at nobody who can be signed in."""
    if request.id_token_hint is None:
        return None
    claims = services.own_tokens.hint_claims(loaded, request.id_token_hint)
    if claims is None or claims.get("aud") != request.client_id:
        raise login_required("id_token_hint")
    return str(claims.get("sub"))


async def _page(
    services: Services, loaded: LoadedTenant, pending: _Pending, found: FoundSession | None, step: Step
) -> NeedsPage:
    assert step.kind != "done"
    handle = pending.handle or await _store(services, loaded, pending.parameters, pending.begun_at)
    return NeedsPage(step.kind, handle, pending.request, pending.client, found, step.reason)


async def _store(services: Services, loaded: LoadedTenant, parameters: Parameters, begun_at: float) -> str:
    handle = new_secret()
    await services.storage.store_interaction(
        loaded.tenant_id,
        InteractionRecord(
            digest=Digest(digest_of(handle)),
            client_id=parameters["client_id"],
            parameters=authorization_request.stored(parameters),
            created_at=begun_at,
            expires_at=begun_at + loaded.tenant.policy.interaction_lifetime_seconds,
        ),
    )
    return handle


async def _finish(
    services: Services, loaded: LoadedTenant, pending: _Pending, found: FoundSession, origin: Origin
) -> Answer:
    """Store the code's digest and answer with the code, state and iss."""
    now = services.clock()
    code = new_secret()
    record = CodeRecord(
        digest=Digest(digest_of(code)),
        grant=_grant(pending.request, found, now=now),
        redirect_uri=pending.target.redirect_uri,
        redirect_uri_was_sent=pending.target.redirect_uri_was_sent,
        code_challenge=pending.request.code_challenge,
        expires_at=now + loaded.tenant.policy.authorization_code_lifetime_seconds,
    )
    issued = event(
        "authorization.granted",
        now=now,
        origin=origin,
        actor=str(found.user.user_id),
        client_id=pending.client.client_id,
        details={"grant": str(record.grant.grant_id), "scope": " ".join(record.grant.scopes)[:500]},
    )
    interaction = Digest(digest_of(pending.handle)) if pending.handle is not None else None
    kept = await services.storage.store_code(loaded.tenant_id, record, interaction=interaction, events=[issued])
    if not kept:  # another window finished this request first
        raise _gone()
    return Answer(pending.target, authorization_response.success(pending.target, code=code, issuer=loaded.issuer))


def _grant(request: AuthorizationRequest, found: FoundSession, *, now: float) -> GrantRecord:
    return GrantRecord(
        grant_id=GrantId(uuid4()),
        client_id=request.client_id,
        user_id=found.user.user_id,
        session_id=found.session.session_id,
        scopes=request.scopes,
        resources=request.resources,
        claims=request.claims.document(),
        auth_time=found.session.auth_time,
        amr=found.session.amr,
        acr=found.session.acr,
        nonce=request.nonce,
        offline="offline_access" in request.scopes,
        created_at=now,
    )


def _failure(
    services: Services,
    loaded: LoadedTenant,
    client: Client,
    target: AnswerTo,
    error: OAuthError,
    *,
    origin: Origin,
) -> Answer:
    refused = event(
        "authorization.refused",
        now=services.clock(),
        origin=origin,
        outcome="failure",
        client_id=client.client_id,
        reason=error.reason,
    )
    services.audit.add_repeatable(loaded.tenant_id, refused)
    return Answer(target, authorization_response.failure(target, error, issuer=loaded.issuer))


def _gone() -> Refused:
    return Refused(
        "interaction_expired", "this sign-in has ended or was finished in another window", "interaction_gone"
    )
