"""Exchange client credentials for an access token (RFC 6749 §4.4). A JWT writes nothing but batched audit."""

from __future__ import annotations

from typing import Any

from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.flows.token import issue
from tegata.protocol import resource, scopes
from tegata.protocol.client import Client
from tegata.protocol.grants import client_credentials as rules
from tegata.protocol.parameters import Parameters
from tegata.telemetry.audit import Origin, event


async def exchange(
    services: Services, loaded: LoadedTenant, client: Client, parameters: Parameters, origin: Origin
) -> dict[str, Any]:
    """Return the token response. Raises `OAuthError`."""
    rules.check_client(client)
    policy, now = loaded.tenant.policy, services.clock()
    granted = scopes.for_service(parameters.get("scope"), client.metadata, policy)
    requested = resource.parse(parameters.all("resource"), policy)
    audience = resource.audience(requested, (), client.metadata, policy, loaded.issuer)
    access = issue.access_token_for_service(loaded, client, scopes=granted, audience=audience, now=now)
    issued = event(
        "token.issued",
        now=now,
        origin=origin,
        actor=client.client_id,
        client_id=client.client_id,
        details={"grant_type": "client_credentials", "jti": access.token_id},
    )
    if access.opaque is None:
        services.audit.add(loaded.tenant_id, issued)
    else:
        await services.storage.store_tokens(
            loaded.tenant_id, grant_id=None, refresh=None, opaque=access.opaque, now=now, events=[issued]
        )
    return issue.answer(access)
