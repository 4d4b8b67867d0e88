"""Exchange an authorization code for tokens (RFC 6749 §4.1.3, OIDC Core §3.1.3)."""

from __future__ import annotations

from typing import Any

from tegata.crypto.digests import digest_of
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.flows.token import issue
from tegata.identifiers import Digest
from tegata.protocol import resource
from tegata.protocol.client import Client
from tegata.protocol.errors import invalid_target
from tegata.protocol.grants import authorization_code as rules
from tegata.protocol.parameters import Parameters
from tegata.storage.records import AuditEvent, GrantRecord, TakenCode
from tegata.telemetry.audit import Origin, event


async def exchange(
    services: Services, loaded: LoadedTenant, client: Client, parameters: Parameters, origin: Origin
) -> dict[str, Any]:
    """Return the token response. Raises `OAuthError`.

    The code is taken before anything else is checked, so a wrong verifier spends it: whoever sent it had the code.
    """
    now = services.clock()
    taken = await _take(services, loaded, client, parameters.require("code"), origin, now=now)
    if taken.code is None or taken.user is None:
        raise rules.refusal(taken.outcome)
    code, user, grant = taken.code, taken.user, taken.code.grant
    if user.disabled:
        raise rules.refusal("revoked")
    rules.check_redemption(
        parameters,
        redirect_uri=code.redirect_uri,
        redirect_uri_was_sent=code.redirect_uri_was_sent,
        code_challenge=code.code_challenge,
    )
    policy = loaded.tenant.policy
    requested = resource.parse(parameters.all("resource"), policy)
    if requested and not grant.resources:  # the person was shown no resource, and a refresh could not name it either
        raise invalid_target("the resource was not part of the authorization", "resource_not_granted")
    audience = resource.audience(requested, grant.resources, client.metadata, policy, loaded.issuer)
    access = issue.access_token_for_user(loaded, client, grant, user, scopes=grant.scopes, audience=audience, now=now)
    refresh_text, refresh = None, None
    if "refresh_token" in client.metadata.grant_types:
        refresh_text, digest = issue.make_refresh_token()
        refresh = issue.new_refresh(digest, client, loaded, now=now)
    # Nothing is kept if a replay of this code, or a logout, has revoked the grant a moment ago. The answer is given all
    # the same: of any number of parallel exchanges one succeeds, and what it was given is dead like the grant.
    await services.storage.store_tokens(
        loaded.tenant_id,
        grant_id=grant.grant_id,
        refresh=refresh,
        opaque=access.opaque,
        now=now,
        events=[_issued(client, grant, access, origin, now=now)],
    )
    id_token = None
    if "openid" in grant.scopes:
        id_token = issue.id_token_for(loaded, client, grant, user, access, nonce=grant.nonce, now=now)
    return issue.answer(access, refresh_token=refresh_text, id_token_text=id_token)


async def _take(
    services: Services, loaded: LoadedTenant, client: Client, code: str, origin: Origin, *, now: float
) -> TakenCode:
    replayed = event(
        "code.replayed",
        now=now,
        origin=origin,
        outcome="failure",
        actor=client.client_id,
        client_id=client.client_id,
        reason="code_replayed",
    )
    return await services.storage.take_code(
        loaded.tenant_id, Digest(digest_of(code)), client_id=client.client_id, now=now, replay_event=replayed
    )


def _issued(client: Client, grant: GrantRecord, access: issue.AccessToken, origin: Origin, *, now: float) -> AuditEvent:
    return event(
        "token.issued",
        now=now,
        origin=origin,
        actor=str(grant.user_id),
        client_id=client.client_id,
        details={"grant_type": "authorization_code", "jti": access.token_id, "grant": str(grant.grant_id)},
    )
