"""Exchange a refresh token (RFC 6749 §6) with rotation, reuse detection and a grace for the immediate parent."""

from __future__ import annotations

from typing import Any

from tegata.crypto.digests import digest_of
from tegata.crypto.envelope import open_successor, seal_successor
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.flows.token import issue
from tegata.identifiers import Digest
from tegata.protocol import resource, scopes
from tegata.protocol.client import Client
from tegata.protocol.grants import refresh_token as rules
from tegata.protocol.parameters import Parameters
from tegata.storage.records import RotatedRefreshToken
from tegata.telemetry.audit import Origin, event


async def exchange(
    services: Services, loaded: LoadedTenant, client: Client, parameters: Parameters, origin: Origin
) -> dict[str, Any]:
    """Return the token response. Raises `OAuthError`.

    Two tabs, or a retry after a lost answer, get the same successor: it is sealed under a key that only the
    presented token yields, so the store itself cannot read it (pitfalls P21 to P24).
    """
    presented = parameters.require("refresh_token")
    requested_scopes = scopes.parse(parameters.get("scope")) or None
    policy, now = loaded.tenant.policy, services.clock()
    requested_resources = resource.parse(parameters.all("resource"), policy)
    # What can be refused is refused before the rotation: afterwards the client would be without its successor.
    resource.audience(requested_resources, (), client.metadata, policy, loaded.issuer)
    text, digest = issue.make_refresh_token()
    rotated = await services.storage.rotate_refresh_token(
        loaded.tenant_id,
        Digest(digest_of(presented)),
        client_id=client.client_id,
        successor=issue.new_refresh(digest, client, loaded, now=now),
        sealed_successor=seal_successor(presented, text),
        scopes=requested_scopes,
        resources=requested_resources or None,
        grace_seconds=policy.refresh_token_grace_seconds,
        now=now,
        issued_event=event(
            "token.issued",
            now=now,
            origin=origin,
            actor=client.client_id,
            client_id=client.client_id,
            details={"grant_type": "refresh_token"},
        ),
        reuse_event=event(
            "refresh_token.reused",
            now=now,
            origin=origin,
            outcome="failure",
            actor=client.client_id,
            client_id=client.client_id,
            reason="refresh_reused",
        ),
    )
    return await _answer(
        services,
        loaded,
        client,
        rotated,
        refresh_token=_current_token(rotated, presented, text),
        requested_scopes=requested_scopes,
        requested_resources=requested_resources,
        now=now,
    )


def _current_token(rotated: RotatedRefreshToken, presented: str, offered: str) -> str:
    if rotated.outcome == "repeated" and rotated.sealed_successor is not None:
        return open_successor(presented, rotated.sealed_successor)
    return offered


async def _answer(
    services: Services,
    loaded: LoadedTenant,
    client: Client,
    rotated: RotatedRefreshToken,
    *,
    refresh_token: str,
    requested_scopes: tuple[str, ...] | None,
    requested_resources: tuple[str, ...],
    now: float,
) -> dict[str, Any]:
    grant, user = rotated.grant, rotated.user
    if rotated.outcome not in {"rotated", "repeated"} or grant is None or user is None:
        raise rules.refusal(rotated.outcome)
    policy = loaded.tenant.policy
    # The grant may be older than what the client and the tenant may have now.
    permitted = scopes.allowed(client.metadata, policy)
    granted = tuple(scope for scope in requested_scopes or grant.scopes if scope in permitted)
    if not granted:
        raise rules.refusal("scope")
    # Of several resources the first one is meant when none is named: it is too late to ask.
    named = resource.parse(requested_resources or grant.resources[:1], policy)
    audience = resource.audience(named, grant.resources, client.metadata, policy, loaded.issuer)
    access = issue.access_token_for_user(loaded, client, grant, user, scopes=granted, audience=audience, now=now)
    if access.opaque is not None:
        kept = await services.storage.store_tokens(
            loaded.tenant_id, grant_id=grant.grant_id, refresh=None, opaque=access.opaque, now=now, events=()
        )
        if not kept:
            raise rules.refusal("revoked")
    id_token = None
    if "openid" in granted:  # without nonce (OIDC Core §12.2)
        id_token = issue.id_token_for(loaded, client, grant, user, access, nonce=None, now=now)
    return issue.answer(access, refresh_token=refresh_token, id_token_text=id_token)
