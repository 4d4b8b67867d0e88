"""Requests as they reach a service behind a load balancer: who is believed, and who is not."""

from __future__ import annotations

from dataclasses import replace

import jwt
import pytest

from tegata_verify import AccessError, Guard, HttpRequest, Reason, build_requirement
from tegata_verify.background import Background
from tegata_verify.guard import SyncGuard
from tegata_verify.testing import TestAlb, TestIssuer, build_verifier

pytestmark = pytest.mark.anyio

PEER = "10.0.0.7"
OTHER_ARN = "arn:aws:elasticloadbalancing:eu-central-1:444455556666:loadbalancer/app/other/50dc6c495c0c9188"


@pytest.fixture
def issuer(clock) -> TestIssuer:
    return TestIssuer(clock=clock)


@pytest.fixture
def alb(issuer) -> TestAlb:
    return TestAlb(issuer)


@pytest.fixture
def guard(issuer, alb) -> Guard:
    return Guard(issuer.verifier(), alb=alb.verifier())


def build_request(headers, *, peer: str | None = PEER, more=()) -> HttpRequest:
    pairs = [*headers, *more]
    return HttpRequest("GET", "https://api.test/me", tuple((n.encode(), v.encode()) for n, v in pairs), peer=peer)


def without(headers, name):
    return [(found, value) for found, value in headers if found != name]


def with_value(headers, name, value):
    return [*without(headers, name), (name, value)]


async def reason_of(guard: Guard, request: HttpRequest) -> tuple[int, Reason]:
    with pytest.raises(AccessError) as caught:
        await guard.authorize(request)
    return caught.value.status, caught.value.reason


async def test_a_user_of_the_load_balancer_is_known_with_both_of_its_tokens(guard, alb):
    headers = alb.mint_headers(subject="ann", scope="read", roles=["admin"], claims={"email": "ann@example.com"})
    principal = await guard.authorize(build_request(headers), build_requirement(scope="read", role="admin"))
    assert (principal.subject, principal.identity["email"]) == ("ann", "ann@example.com")
    assert alb.fetches == 1


async def test_permission_comes_from_the_access_token_alone(guard, alb):
    headers = alb.mint_headers(claims={"roles": ["admin"], "scope": "write"})
    with pytest.raises(AccessError) as caught:
        await guard.authorize(build_request(headers), build_requirement(role="admin"))
    assert caught.value.reason == Reason.MISSING_ROLE


async def test_threads_are_answered_alike(issuer, alb):
    guard = SyncGuard(issuer.verifier(), alb=alb.verifier())
    try:
        assert guard.authorize(build_request(alb.mint_headers())).identity["sub"] == "user-1"
        with pytest.raises(AccessError) as caught:
            guard.authorize(build_request(alb.mint_headers(), peer="192.0.2.1"))
        assert caught.value.reason == Reason.UNTRUSTED_PEER
    finally:
        guard.close()


def test_data_alone_is_verified_in_the_background_for_callers_without_a_loop(alb):
    background, verifier = Background(), alb.verifier()
    try:
        data = alb.mint_data(subject="ann")
        assert background.run(verifier.verify(data), timeout_seconds=60).subject == "ann"
    finally:
        background.close()


async def test_what_the_test_load_balancer_mints_is_good_for_another_library(alb):
    data = alb.mint_data(subject="ann")
    pem = alb.find_published(alb.key_url)
    # PyJWT decodes padded segments, and verifies over the text as it came.
    assert jwt.decode(data, pem, algorithms=["ES256"], options={"verify_exp": False})["sub"] == "ann"


@pytest.mark.parametrize(
    "peer", ["192.0.2.1", "10.0.0.8", None, "", "testclient", "10.0.0.7, 192.0.2.1", "::1", "010.0.0.7", "unix:"]
)
async def test_nobody_else_is_believed_whatever_the_headers_say(guard, alb, peer):
    forwarded = [("x-forwarded-for", PEER), ("forwarded", f"for={PEER}"), ("x-real-ip", PEER)]
    request = build_request(alb.mint_headers(), peer=peer, more=forwarded)
    assert await reason_of(guard, request) == (401, Reason.UNTRUSTED_PEER)
    assert alb.fetches == 0


@pytest.mark.parametrize("name", ["x-amzn-oidc-accesstoken", "x-amzn-oidc-data", "x-amzn-oidc-identity"])
async def test_a_single_spoofed_header_is_refused_even_beside_a_good_bearer_token(guard, issuer, name):
    bearer = [("authorization", f"Bearer {issuer.mint()}")]
    assert await reason_of(guard, build_request([(name, "x")], peer="192.0.2.1", more=bearer)) == (
        401,
        Reason.UNTRUSTED_PEER,
    )


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.7", "10.0.0.7"])
async def test_the_peer_may_be_written_as_an_ipv6_address(guard, alb, peer):
    assert (await guard.authorize(build_request(alb.mint_headers(), peer=peer))).subject == "user-1"


@pytest.mark.parametrize("name", ["x-amzn-oidc-accesstoken", "x-amzn-oidc-data", "x-amzn-oidc-identity"])
async def test_each_header_must_be_there_once(guard, alb, name):
    headers = alb.mint_headers()
    twice = [(name, dict(headers)[name])]
    assert await reason_of(guard, build_request(headers, more=twice)) == (400, Reason.REPEATED_AUTHORIZATION)
    assert await reason_of(guard, build_request(without(headers, name))) == (401, Reason.NO_TOKEN)
    assert alb.fetches == 0


@pytest.mark.parametrize(
    ("name", "size"),
    [("x-amzn-oidc-accesstoken", 16_385), ("x-amzn-oidc-data", 16_385), ("x-amzn-oidc-identity", 2_049)],
)
async def test_a_huge_header_is_refused_before_it_is_read(guard, alb, name, size):
    request = build_request(with_value(alb.mint_headers(), name, "a" * size))
    assert await reason_of(guard, request) == (401, Reason.TOKEN_TOO_LARGE)
    assert alb.fetches == 0


async def test_a_token_beside_the_load_balancers_is_refused(guard, alb, issuer):
    bearer = [("authorization", f"Bearer {issuer.mint()}")]
    request = build_request(alb.mint_headers(), more=bearer)
    assert await reason_of(guard, request) == (400, Reason.REPEATED_AUTHORIZATION)


async def test_a_bearer_token_without_the_load_balancer_is_judged_as_ever(guard, issuer):
    request = build_request([("authorization", f"Bearer {issuer.mint()}")], peer="192.0.2.1")
    assert not (await guard.authorize(request)).identity
    assert await reason_of(guard, build_request([])) == (401, Reason.NO_TOKEN)


async def test_the_headers_must_speak_of_one_user(guard, alb):
    ann, bob = alb.mint_headers(subject="ann"), alb.mint_headers(subject="bob")
    for name, value in bob:
        assert await reason_of(guard, build_request(with_value(ann, name, value))) == (401, Reason.WRONG_SUBJECT)


@pytest.mark.parametrize("name", ["user-1 ", "USER-1", "", "user-1,user-1", "us\N{CYRILLIC SMALL LETTER IE}r-1"])
async def test_the_name_must_be_the_users_to_the_letter(guard, alb, name):
    request = build_request(with_value(alb.mint_headers(), "x-amzn-oidc-identity", name))
    assert await reason_of(guard, request) == (401, Reason.WRONG_SUBJECT)


async def test_a_name_outside_ascii_is_compared_as_utf8(guard, alb):
    assert (await guard.authorize(build_request(alb.mint_headers(subject="Zoë")))).subject == "Zoë"


async def test_an_access_token_of_another_client_is_refused(guard, alb, issuer):
    token = issuer.mint(client_id="stranger")
    request = build_request(with_value(alb.mint_headers(), "x-amzn-oidc-accesstoken", token))
    assert await reason_of(guard, request) == (401, Reason.WRONG_CLIENT)


async def test_both_tokens_must_be_of_one_client(issuer, alb):
    both = replace(alb.rules, client_ids=["client-1", "client-2"])
    guard = Guard(issuer.verifier(), alb=alb.verifier(both))
    token = issuer.mint(client_id="client-2")
    request = build_request(with_value(alb.mint_headers(), "x-amzn-oidc-accesstoken", token))
    assert await reason_of(guard, request) == (401, Reason.WRONG_CLIENT)


async def test_an_access_token_of_another_trusted_issuer_is_refused(issuer, alb, clock):
    other = TestIssuer("https://issuer.test/other", clock=clock)
    guard = Guard(build_verifier(issuer, other, clock=clock), alb=alb.verifier())
    request = build_request(with_value(alb.mint_headers(), "x-amzn-oidc-accesstoken", other.mint()))
    assert await reason_of(guard, request) == (401, Reason.UNKNOWN_ISSUER)


async def test_another_load_balancer_is_refused_without_a_fetch(guard, alb, issuer):
    other = TestAlb(issuer, arn=OTHER_ARN)
    assert await reason_of(guard, build_request(other.mint_headers())) == (401, Reason.WRONG_SIGNER)
    assert (alb.fetches, other.fetches) == (0, 0)


async def test_an_expired_access_token_is_refused_though_the_data_is_fresh(guard, alb, issuer):
    headers = with_value(alb.mint_headers(), "x-amzn-oidc-accesstoken", issuer.mint(lifetime_seconds=-31))
    assert await reason_of(guard, build_request(headers)) == (401, Reason.EXPIRED)


async def test_data_in_the_place_of_the_access_token_is_refused(guard, alb):
    headers = alb.mint_headers()
    request = build_request(with_value(headers, "x-amzn-oidc-accesstoken", dict(headers)["x-amzn-oidc-data"]))
    assert (await reason_of(guard, request))[0] == 401


async def test_where_data_is_not_required_it_is_verified_if_it_comes(issuer, alb):
    guard = Guard(issuer.verifier(), alb=alb.verifier(replace(alb.rules, require_identity=False)))
    headers = alb.mint_headers()
    alone = [pair for pair in headers if pair[0] == "x-amzn-oidc-accesstoken"]
    assert not (await guard.authorize(build_request(alone))).identity
    named = with_value(alone, "x-amzn-oidc-identity", "somebody")
    assert await reason_of(guard, build_request(named)) == (401, Reason.WRONG_SUBJECT)
    forged = with_value(headers, "x-amzn-oidc-data", alb.mint_data(header={"signer": OTHER_ARN}))
    assert await reason_of(guard, build_request(forged)) == (401, Reason.WRONG_SIGNER)


async def test_a_new_key_is_trusted_and_one_never_published_is_not(guard, alb):
    await guard.authorize(build_request(alb.mint_headers()))
    alb.rotate()
    await guard.authorize(build_request(alb.mint_headers()))
    data = alb.mint_data()
    assert alb.fetches == 2
    alb.rotate(withdraw=True)
    forged = alb.mint_data(header={"kid": "00000000-0000-4000-8000-000000000000"})
    request = build_request(with_value(alb.mint_headers(), "x-amzn-oidc-data", forged))
    assert await reason_of(guard, request) == (401, Reason.UNKNOWN_KEY)
    assert data
