"""Revocation (RFC 7009): a client gives up a token. A refresh token takes its whole family with it (§2.1)."""

from __future__ import annotations

from tegata.crypto.digests import digest_of
from tegata.flows import access_tokens
from tegata.flows.client_authentication import authenticate
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.identifiers import Digest
from tegata.protocol.client import Client
from tegata.protocol.parameters import Parameters
from tegata.storage.records import AuditEvent
from tegata.telemetry.audit import Origin, event


async def revoke(
    services: Services, loaded: LoadedTenant, authorization: str | None, parameters: Parameters, origin: Origin
) -> None:
    """Revoke the token if it is the client's own; an unknown one is no error (§2.2). Raises `OAuthError`.

    `token_type_hint` is not needed: the form of a token says what it is, and both kinds are looked for.
    """
    parameters.check_not_repeated()
    client = await authenticate(services, loaded, authorization, parameters, endpoint="revoke")
    token = parameters.require("token")
    revoked = event(
        "token.revoked",
        now=services.clock(),
        origin=origin,
        actor=client.client_id,
        client_id=client.client_id,
        reason="revoked_by_client",
    )
    if token.count(".") == 2:
        await _revoke_jwt(services, loaded, client, token, revoked)
        return
    digest, now = Digest(digest_of(token)), services.clock()
    storage, client_id = services.storage, client.client_id
    if not await storage.revoke_refresh_token(loaded.tenant_id, digest, client_id=client_id, now=now, event=revoked):
        await storage.revoke_opaque_token(loaded.tenant_id, digest, client_id=client_id, now=now, event=revoked)


async def _revoke_jwt(
    services: Services, loaded: LoadedTenant, client: Client, token: str, revoked: AuditEvent
) -> None:
    claims = access_tokens.jwt_claims(services, loaded, token)
    if claims is None or claims["client_id"] != client.client_id or claims["exp"] <= services.clock():
        return
    await services.storage.revoke_token_id(
        loaded.tenant_id, claims["jti"], expires_at=float(claims["exp"]), event=revoked
    )
