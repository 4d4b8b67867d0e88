"""Introspection (RFC 7662): a resource server asks whether a token is valid now. Reads the writer (pitfalls P85)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tegata.crypto.digests import digest_of
from tegata.flows import access_tokens
from tegata.flows.client_authentication import authenticate
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.identifiers import Digest
from tegata.protocol import introspection
from tegata.protocol.client import Client
from tegata.protocol.errors import invalid_client
from tegata.protocol.parameters import Parameters
from tegata.protocol.subject import subject_for


async def introspect(
    services: Services, loaded: LoadedTenant, authorization: str | None, parameters: Parameters
) -> Mapping[str, Any]:
    """Return the answer; a token that is unknown, ended or of another tenant is just inactive (§2.2).

    Raises `OAuthError`: the caller must be a confidential client (§2.1), or anybody could scan for tokens.
    """
    parameters.check_not_repeated()
    client = await authenticate(services, loaded, authorization, parameters, endpoint="introspect")
    if client.is_public:
        raise invalid_client("introspection needs client authentication", "public_client")
    token = parameters.require("token")
    live = await access_tokens.find(services, loaded, token)
    if live is None:
        return await _refresh_token(services, loaded, client, token)
    return introspection.access_token_answer(
        issuer=loaded.issuer,
        subject=live.subject,
        client_id=live.client_id,
        audience=live.audience,
        scopes=live.scopes,
        jti=live.token_id,
        issued_at=live.issued_at,
        expires_at=live.expires_at,
        username=live.user.username if live.user is not None else None,
        extra=live.claims,
    )


async def _refresh_token(services: Services, loaded: LoadedTenant, client: Client, token: str) -> Mapping[str, Any]:
    """A refresh token is nobody's business but its own client's."""
    if token.count(".") == 2:
        return introspection.INACTIVE
    found = await services.storage.find_refresh_token(
        loaded.tenant_id,
        Digest(digest_of(token)),
        grace_seconds=loaded.tenant.policy.refresh_token_grace_seconds,
        now=services.clock(),
    )
    if found is None or not found.active or found.grant.client_id != client.client_id:
        return introspection.INACTIVE
    return introspection.refresh_token_answer(
        issuer=loaded.issuer,
        subject=subject_for(found.grant.user_id, client.metadata, pairwise_salt=loaded.tenant.pairwise_salt),
        client_id=client.client_id,
        scopes=found.grant.scopes,
        issued_at=found.issued_at,
        expires_at=found.expires_at,
        username=found.username,
    )
