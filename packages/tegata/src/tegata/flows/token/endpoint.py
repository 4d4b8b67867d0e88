"""The token endpoint: authenticate the client, check that it may use the grant, dispatch (RFC 6749 §3.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tegata.flows.client_authentication import authenticate
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.flows.token import authorization_code, client_credentials, refresh_token
from tegata.protocol.client import Client
from tegata.protocol.errors import OAuthError, unauthorized_client, unsupported_grant_type
from tegata.protocol.parameters import Parameters
from tegata.telemetry.audit import Origin, event

Exchange = Callable[[Services, LoadedTenant, Client, Parameters, Origin], Awaitable[dict[str, Any]]]

GRANTS: dict[str, Exchange] = {
    "authorization_code": authorization_code.exchange,
    "refresh_token": refresh_token.exchange,
    "client_credentials": client_credentials.exchange,
}


async def exchange(
    services: Services, loaded: LoadedTenant, authorization: str | None, parameters: Parameters, origin: Origin
) -> dict[str, Any]:
    """Return the token response. Raises `OAuthError`; a refusal is audited with its reason."""
    client: Client | None = None
    try:
        parameters.check_not_repeated()
        client = await authenticate(services, loaded, authorization, parameters, endpoint="token")
        grant_type = parameters.require("grant_type")
        grant = GRANTS.get(grant_type)
        if grant is None:
            raise unsupported_grant_type("grant_type is not supported")
        if grant_type not in client.metadata.grant_types:
            raise unauthorized_client("this client may not use this grant_type")
        return await grant(services, loaded, client, parameters, origin)
    except OAuthError as error:
        _audit_refusal(services, loaded, client, error, origin)
        raise


def _audit_refusal(
    services: Services, loaded: LoadedTenant, client: Client | None, error: OAuthError, origin: Origin
) -> None:
    client_id = client.client_id if client is not None else None
    refused = event(
        "token.refused",
        now=services.clock(),
        origin=origin,
        outcome="failure",
        actor=client_id,
        client_id=client_id,
        reason=error.reason,
    )
    proven = client is not None and not client.is_public
    (services.audit.add if proven else services.audit.add_repeatable)(loaded.tenant_id, refused)
