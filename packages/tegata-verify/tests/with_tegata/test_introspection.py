"""The guard asks Tegata's own endpoint, over HTTP: what Tegata says of a token is what the service does."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from tegata.testing.relying_party import RelyingParty
from tegata.testing.server import API, OTHER_API
from tegata_verify import (
    AccessError,
    CachePolicy,
    Guard,
    HttpRequest,
    Introspection,
    IntrospectionPolicy,
    Reason,
    Tegata,
    Verifier,
    build_requirement,
)
from tegata_verify.client import ClientSecret

pytestmark = pytest.mark.anyio

READ = build_requirement(scope="read")
ASKER = "service"
"""The client in whose name the guarded service asks."""


@asynccontextmanager
async def guarding(tegata, *, secret=None, confirm_jwts=False, asker=ASKER):
    """Yield the guard of a service of the tenant `acme`."""
    acme = tegata.tenants["acme"]
    rules = Tegata(acme.issuer, [API], allow_loopback_http=True)
    verifier = Verifier(rules, clock=tegata.clock, cache_policy=CachePolicy(timeout=60))
    introspection = Introspection(
        rules,
        ClientSecret(asker, secret or acme.secrets[asker]),
        confirm_jwts=confirm_jwts,
        policy=IntrospectionPolicy(active=60, inactive=10, timeout=60),
        clock=tegata.clock,
    )
    yield Guard(verifier, introspection=introspection)
    await introspection.aclose()
    await verifier.aclose()


def request(token):
    return HttpRequest("GET", "https://api.example.org/orders", ((b"authorization", f"Bearer {token}".encode()),))


async def refusal(guard, token):
    """Return reason and status of a refusal."""
    with pytest.raises(AccessError) as caught:
        await guard.authorize(request(token), READ)
    return caught.value.reason, guard.refuse(caught.value).status


async def log_in(tegata, client_id, tenant="acme", resource=API):
    party = RelyingParty(tegata, client_id, tenant)
    return party, await party.sign_in(scope="openid offline_access read", resource=resource)


async def test_an_opaque_access_token_tells_who_acts(tegata):
    _, tokens = await log_in(tegata, "opaque")
    assert "." not in tokens["access_token"]
    async with guarding(tegata) as guard:
        principal = await guard.authorize(request(tokens["access_token"]), READ)
    assert principal.subject == str(tegata.tenants["acme"].users["taro"])
    assert (principal.tenant, principal.client_id, principal.is_service) == ("acme", "opaque", False)
    assert "read" in principal.scopes


async def test_a_revoked_opaque_token_is_refused_when_its_answer_is_too_old(tegata):
    party, tokens = await log_in(tegata, "opaque")
    token = tokens["access_token"]
    async with guarding(tegata) as guard:
        await guard.authorize(request(token), READ)
        assert (await party.call("revoke", token=token)).status == 200
        tegata.clock.advance(59)
        await guard.authorize(request(token), READ)
        tegata.clock.advance(2)
        assert await refusal(guard, token) == (Reason.INACTIVE, 401)


@pytest.mark.parametrize(("asker", "reason"), [(ASKER, Reason.INACTIVE), ("web", Reason.WRONG_TOKEN_USE)])
async def test_a_refresh_token_is_no_access_token_even_where_tegata_calls_it_active(tegata, asker, reason):
    _, tokens = await log_in(tegata, "web")
    async with guarding(tegata, asker=asker) as guard:
        assert await refusal(guard, tokens["refresh_token"]) == (reason, 401)


async def test_a_jwt_is_confirmed_and_once_revoked_refused_within_the_time_that_answers_are_kept(tegata):
    party, tokens = await log_in(tegata, "web")
    token = tokens["access_token"]
    async with guarding(tegata, confirm_jwts=True) as asking, guarding(tegata) as trusting:
        for guard in (asking, trusting):
            assert (await guard.authorize(request(token), READ)).client_id == "web"
        # Revoking the refresh token ends the grant, and with it the access token. RFC 7009 §2.1.
        assert (await party.call("revoke", token=tokens["refresh_token"])).status == 200
        tegata.clock.advance(61)
        assert await refusal(asking, token) == (Reason.INACTIVE, 401)
        assert (await trusting.authorize(request(token), READ)).client_id == "web"  # nobody has asked


async def test_a_wrong_client_secret_is_our_own_trouble_and_not_the_callers(tegata):
    _, opaque = await log_in(tegata, "opaque")
    _, jwt = await log_in(tegata, "web")
    async with guarding(tegata, secret="not-the-secret", confirm_jwts=True) as guard:
        for tokens in (opaque, jwt):
            assert await refusal(guard, tokens["access_token"]) == (Reason.INTROSPECTION_UNAVAILABLE, 503)


@pytest.mark.parametrize(("client_id", "reason"), [("opaque", Reason.INACTIVE), ("web", Reason.UNKNOWN_ISSUER)])
async def test_a_token_of_another_tenant_is_refused(tegata, client_id, reason):
    _, tokens = await log_in(tegata, client_id, "other")
    async with guarding(tegata, confirm_jwts=True) as guard:
        assert await refusal(guard, tokens["access_token"]) == (reason, 401)


@pytest.mark.parametrize("client_id", ["opaque", "web"])
async def test_a_token_for_another_service_is_refused(tegata, client_id):
    _, tokens = await log_in(tegata, client_id, resource=OTHER_API)
    async with guarding(tegata, confirm_jwts=True) as guard:
        assert await refusal(guard, tokens["access_token"]) == (Reason.WRONG_AUDIENCE, 401)
