"""The client against Tegata's own server, over HTTP: its tokens are good for the verifier of this package."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from joserfc.jwk import ECKey

from tegata.crypto.keys import private_bytes
from tegata.testing.server import API
from tegata_verify import CachePolicy, Tegata, Verifier
from tegata_verify.client import (
    AuthorizationServer,
    ClientCredentials,
    ClientSecret,
    PrivateKeyJwt,
    Surroundings,
    TokenPolicy,
    TokenUnavailable,
    Wanted,
)

pytestmark = pytest.mark.anyio

PATIENT = TokenPolicy(timeout=60)


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
async def test_a_token_is_obtained_and_good_for_the_verifier(tegata, way):
    tenant = tegata.tenants["acme"]
    client_id = "jwt" if way == "private_key_jwt" else "service"
    if way == "private_key_jwt":
        await tegata.change_client(client_id, grant_types=("client_credentials",), scope="read write")
        key = ECKey.import_key({**json.loads(private_bytes(tenant.assertion_key)), "kid": "assertion"})
        authentication = PrivateKeyJwt(client_id, key)
    else:
        await tegata.change_client(client_id, token_endpoint_auth_method=way)
        in_body = way == "client_secret_post"
        authentication = ClientSecret(client_id, tenant.secrets[client_id], in_body=in_body)
    source = ClientCredentials(
        AuthorizationServer(tenant.issuer, allow_loopback_http=True),
        authentication,
        Wanted("read", resource=API),
        policy=PATIENT,
        surroundings=replace(Surroundings(), clock=tegata.clock),
    )
    first, second = await source.aget(), await asyncio.to_thread(source.get)
    assert first is second
    verifier = Verifier(
        Tegata(tenant.issuer, [API], allow_loopback_http=True),
        clock=tegata.clock,
        cache_policy=CachePolicy(timeout=60),
    )
    principal = await verifier.verify(first.value)
    assert (principal.client_id, principal.scopes, principal.is_service) == (client_id, {"read"}, True)
    await verifier.aclose()


async def test_a_wrong_secret_is_refused_and_stays_unsaid(tegata):
    issuer = tegata.tenants["acme"].issuer
    source = ClientCredentials(
        AuthorizationServer(issuer, allow_loopback_http=True), ClientSecret("service", "wrong-secret"), policy=PATIENT
    )
    with pytest.raises(TokenUnavailable, match="refused: invalid_client") as raised:
        await source.aget()
    assert "wrong-secret" not in repr(raised.value)
