"""Opaque and revoked tokens, by asking the issuer (RFC 7662)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import Counter
from urllib.parse import parse_qs

import httpx2
import pytest

from tegata_verify import (
    AccessError,
    EntraId,
    Guard,
    HttpRequest,
    Introspection,
    IntrospectionPolicy,
    KeysUnavailable,
    Principal,
    Reason,
    SyncGuard,
    TokenError,
)
from tegata_verify.client.authentication import ClientSecret, PrivateKeyJwt
from tegata_verify.issuers import Generic
from tegata_verify.testing import TestIssuer

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.anyio


class Endpoint(httpx2.AsyncBaseTransport):
    """An issuer's introspection endpoint: `answers` by token, counted, and broken on demand."""

    def __init__(self):
        self.now = 1_700_000_000.0
        self.issuer = TestIssuer(clock=lambda: self.now)
        self.answers = {}
        self.asked = Counter()
        self.seen = []
        self.broken = None
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def url(self):
        return f"{self.issuer.issuer}/introspect"

    def answer(self, token, **more):
        standard = {
            "active": True,
            "sub": "user-1",
            "client_id": "client-1",
            "aud": self.issuer.audience,
            "scope": "read write",
            "roles": ["brewer"],
            "exp": self.now + 300,
            "token_type": "Bearer",
        }
        self.answers[token] = {k: v for k, v in (standard | more).items() if v is not None}

    async def handle_async_request(self, request):
        if str(request.url) == self.issuer.rules.metadata_url:
            return httpx2.Response(200, json={"issuer": self.issuer.issuer, "introspection_endpoint": self.url})
        assert str(request.url) == self.url
        body = b"".join([chunk async for chunk in request.stream])
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.seen.append((request.headers, fields))
        self.asked[fields["token"]] += 1
        await self.gate.wait()
        if self.broken is not None:
            if isinstance(self.broken, Exception):
                raise self.broken
            return self.broken
        return httpx2.Response(200, json=self.answers.get(fields["token"], {"active": False}))

    def introspection(self, *, authentication=None, policy=None, **how):
        return Introspection(
            self.issuer.rules,
            authentication or ClientSecret("api", "p:ss word"),
            transport=lambda: self,
            clock=lambda: self.now,
            policy=IntrospectionPolicy(**{"timeout": PATIENCE_SECONDS, **(policy or {})}),
            **how,
        )


@pytest.fixture
def endpoint():
    return Endpoint()


def send(token):
    return HttpRequest("GET", "https://api.test/", ((b"authorization", f"Bearer {token}".encode()),))


async def refusal_of(awaitable, kind=TokenError):
    with pytest.raises(kind) as caught:
        await awaitable
    return caught.value


async def test_an_opaque_token_becomes_the_same_principal(endpoint):
    endpoint.answer("opaque")
    guard = Guard(endpoint.issuer.verifier(), introspection=endpoint.introspection())
    principal = await guard.authorize(send("opaque"))
    assert (principal.subject, principal.client_id, principal.tenant) == ("user-1", "client-1", "demo")
    assert (principal.scopes, principal.roles) == ({"read", "write"}, {"brewer"})
    assert "active" not in principal.claims
    headers, fields = endpoint.seen[0]
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"api:p%3Ass+word"
    assert fields == {"token": "opaque", "token_type_hint": "access_token"}


async def test_threads_ask_too(endpoint):
    endpoint.answer("opaque")
    guard = SyncGuard(endpoint.issuer.verifier(), introspection=endpoint.introspection())
    try:
        assert (await asyncio.to_thread(guard.authorize, send("opaque"))).subject == "user-1"
    finally:
        guard.close()


async def test_a_client_may_prove_itself_by_a_signature(endpoint):
    endpoint.answer("opaque")
    key = endpoint.issuer.key
    introspection = endpoint.introspection(authentication=PrivateKeyJwt("api", key), url=endpoint.url)
    await introspection.find_principal("opaque")
    headers, fields = endpoint.seen[0]
    assert "authorization" not in headers
    assert fields["client_assertion_type"].endswith("jwt-bearer")
    assert fields["client_assertion"].count(".") == 2


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"active": False}, Reason.INACTIVE),
        ({"aud": "https://other.test"}, Reason.WRONG_AUDIENCE),
        ({"aud": None}, Reason.MISSING_CLAIM),
        ({"iss": "https://other.test/demo"}, Reason.UNKNOWN_ISSUER),
        ({"sub": None}, Reason.MISSING_CLAIM),
        ({"client_id": None}, Reason.MISSING_CLAIM),
        ({"token_type": "refresh_token"}, Reason.WRONG_TOKEN_USE),
        ({"token_type": 1}, Reason.WRONG_TOKEN_USE),
        ({"exp": 1}, Reason.EXPIRED),
        ({"exp": "soon"}, Reason.MALFORMED_CLAIM),
        ({"nbf": 1_800_000_000}, Reason.NOT_YET_VALID),
        ({"roles": "admin"}, Reason.MALFORMED_CLAIM),
    ],
)
async def test_an_answer_is_judged_as_a_token_is(endpoint, more, reason):
    endpoint.answer("opaque", **more)
    assert (await refusal_of(endpoint.introspection().find_principal("opaque"))).reason is reason


async def test_a_bound_opaque_token_is_no_bearer_token(endpoint):
    endpoint.answer("opaque", cnf={"jkt": "x"}, token_type="DPoP")
    guard = Guard(endpoint.issuer.verifier(), introspection=endpoint.introspection())
    assert (await refusal_of(guard.authorize(send("opaque")))).reason is Reason.WRONG_SCHEME


async def test_an_answer_without_audience_counts_where_the_issuer_answers_for_us_alone(endpoint):
    endpoint.answer("opaque", aud=None, exp=None)
    principal = await endpoint.introspection(trust_missing_audience=True).find_principal("opaque")
    assert "aud" not in principal.claims
    assert "exp" not in principal.claims


async def test_answers_are_kept_but_never_beyond_their_token(endpoint):
    endpoint.answer("opaque", exp=endpoint.now + 20)
    introspection = endpoint.introspection()
    for _ in range(5):
        await introspection.find_principal("opaque")
    assert endpoint.asked["opaque"] == 1
    endpoint.now += 20
    endpoint.answers.clear()
    assert (await refusal_of(introspection.find_principal("opaque"))).reason is Reason.INACTIVE
    assert endpoint.asked["opaque"] == 2


async def test_a_revoked_token_is_good_for_a_minute_at_most(endpoint):
    endpoint.answer("opaque")
    introspection = endpoint.introspection()
    await introspection.find_principal("opaque")
    endpoint.answer("opaque", active=False)
    endpoint.now += 59
    await introspection.find_principal("opaque")
    endpoint.now += 1
    assert (await refusal_of(introspection.find_principal("opaque"))).reason is Reason.INACTIVE


async def test_that_a_token_is_unknown_is_kept_shortly(endpoint):
    introspection = endpoint.introspection()
    for _ in range(3):
        await refusal_of(introspection.find_principal("unknown"))
    assert endpoint.asked["unknown"] == 1
    endpoint.now += 10
    endpoint.answer("unknown")
    assert (await introspection.find_principal("unknown")).subject == "user-1"


async def test_made_up_tokens_do_not_drive_out_good_ones_and_memory_is_bounded(endpoint):
    endpoint.answer("opaque")
    introspection = endpoint.introspection(policy={"tokens_kept": 4, "inactive_kept": 4})
    await introspection.find_principal("opaque")
    for number in range(20):
        await refusal_of(introspection.find_principal(f"made-up-{number}"))
    await introspection.find_principal("opaque")
    assert endpoint.asked["opaque"] == 1
    assert len(introspection._bad) == 4


async def test_no_token_is_kept_in_clear(endpoint):
    endpoint.answer("a-very-secret-token")
    introspection = endpoint.introspection()
    await introspection.find_principal("a-very-secret-token")
    await refusal_of(introspection.find_principal("another-secret-token"))
    assert "secret-token" not in repr(vars(introspection))


async def test_many_requests_with_one_token_ask_once(endpoint, until):
    endpoint.answer("opaque")
    endpoint.gate.clear()
    introspection = endpoint.introspection()
    waiting = [asyncio.create_task(introspection.find_principal("opaque")) for _ in range(50)]
    await until(lambda: endpoint.asked)
    waiting[0].cancel()
    endpoint.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert endpoint.asked["opaque"] == 1
    assert sum(isinstance(result, BaseException) for result in results) == 1


async def test_questions_at_once_are_bounded(endpoint):
    endpoint.gate.clear()
    introspection = endpoint.introspection(policy={"max_questions": 2})
    tasks = [asyncio.create_task(introspection.find_principal(f"t{n}")) for n in range(2)]
    await asyncio.sleep(0)
    error = await refusal_of(introspection.find_principal("t3"), KeysUnavailable)
    assert error.reason is Reason.INTROSPECTION_UNAVAILABLE
    endpoint.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)


BROKEN = {
    "refused": httpx2.ConnectError("refused"),
    "error": httpx2.Response(500),
    "our secret is wrong": httpx2.Response(401, json={"error": "invalid_client"}),
    "redirect": httpx2.Response(307, headers={"location": "https://elsewhere.test"}),
    "no JSON": httpx2.Response(200, content=b"<html>"),
    "active as text": httpx2.Response(200, json={"active": "true"}),
    "no active": httpx2.Response(200, json={"sub": "user-1"}),
    "twice": httpx2.Response(200, content=b'{"active": false, "active": true}'),
    "huge": httpx2.Response(200, content=b'{"active": true, "x": "' + b"x" * 70_000 + b'"}'),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_without_a_proper_answer_the_request_is_refused_with_503(endpoint, case, caplog):
    endpoint.answer("opaque-secret")
    endpoint.broken = BROKEN[case]
    guard = Guard(endpoint.issuer.verifier(), introspection=endpoint.introspection())
    with caplog.at_level(logging.DEBUG):
        error = await refusal_of(guard.authorize(send("opaque-secret")), KeysUnavailable)
    assert error.reason is Reason.INTROSPECTION_UNAVAILABLE
    refusal = guard.refuse(error)
    assert refusal.status == 503
    assert int(dict(refusal.headers)["Retry-After"]) >= 1
    assert "opaque-secret" not in caplog.text
    # For a moment nobody asks again; then it works.
    endpoint.broken = None
    await refusal_of(guard.authorize(send("opaque-secret")), KeysUnavailable)
    assert endpoint.asked["opaque-secret"] == 1
    endpoint.now += 2
    await guard.authorize(send("opaque-secret"))


async def test_retry_after_of_the_issuer_is_kept_to_within_a_minute(endpoint):
    endpoint.broken = httpx2.Response(429, headers={"retry-after": "3600"})
    introspection = endpoint.introspection()
    await refusal_of(introspection.find_principal("opaque"), KeysUnavailable)
    error = await refusal_of(introspection.find_principal("opaque"), KeysUnavailable)
    assert error.retry_after_seconds == 60


async def test_an_issuer_of_several_names_is_asked_about_tokens_of_each(endpoint):
    tenant = "6f0a4b3c-1111-4222-8333-0123456789ab"
    rules = EntraId("organizations", ["api"], tenants=[tenant])
    introspection = Introspection(rules, ClientSecret("api", "s"), url=endpoint.url, confirm_jwts=True)
    assert all(introspection.wants_activity(Principal(issuer, "user-1")) for issuer in rules.accepted_issuers)
    assert not introspection.wants_activity(Principal("https://other.example", "user-1"))


@pytest.mark.parametrize("status", [400, 413, 414, 422, 431])
async def test_a_token_that_the_issuer_chokes_on_keeps_no_other_out(endpoint, status):
    endpoint.answer("good")
    introspection = endpoint.introspection()
    endpoint.broken = httpx2.Response(status)
    with pytest.raises(KeysUnavailable):
        await introspection.find_principal("made-up")
    endpoint.broken = None
    assert (await introspection.find_principal("good")).subject == "user-1"


def test_questions_of_event_loops_that_were_left_do_not_count(endpoint):
    endpoint.answer("good")
    introspection = endpoint.introspection(policy={"max_questions": 2})
    left, asking = [], []
    for number in range(2):
        loop, endpoint.gate = asyncio.new_event_loop(), asyncio.Event()
        asking.append(loop.create_task(introspection.find_principal(f"token-{number}")))
        while len(endpoint.seen) <= number:
            loop.run_until_complete(asyncio.sleep(0.001))
        left.append(loop)
    endpoint.gate = asyncio.Event()
    endpoint.gate.set()
    assert asyncio.run(introspection.find_principal("good")).subject == "user-1"
    for loop in left:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()


@pytest.mark.parametrize("stale", [0, 600])
async def test_through_an_outage_an_old_answer_serves_only_where_that_was_allowed(endpoint, stale):
    endpoint.answer("opaque", exp=endpoint.now + 400)
    introspection = endpoint.introspection(policy={"stale": stale})
    await introspection.find_principal("opaque")
    endpoint.broken = httpx2.Response(500)
    endpoint.now += 100
    if stale:
        await introspection.find_principal("opaque")
        endpoint.now += 300
    await refusal_of(introspection.find_principal("opaque"), KeysUnavailable)


async def test_a_revoked_jwt_is_noticed_where_the_issuer_is_asked(endpoint):
    token = endpoint.issuer.mint(lifetime_seconds=3600)
    endpoint.answers[token] = {"active": True}
    asking = Guard(endpoint.issuer.verifier(), introspection=endpoint.introspection(confirm_jwts=True))
    trusting = Guard(endpoint.issuer.verifier(), introspection=endpoint.introspection())
    await asking.authorize(send(token))
    endpoint.answers[token] = {"active": False}
    endpoint.now += 60
    assert (await refusal_of(asking.authorize(send(token)))).reason is Reason.INACTIVE
    await trusting.authorize(send(token))
    assert endpoint.asked[token] == 2


async def test_a_forged_jwt_is_not_even_asked_about(endpoint):
    forged = TestIssuer(endpoint.issuer.issuer, clock=lambda: endpoint.now).mint()
    guard = Guard(endpoint.issuer.verifier(), introspection=endpoint.introspection(confirm_jwts=True))
    await refusal_of(guard.authorize(send(forged)), AccessError)
    assert not endpoint.asked


async def test_a_huge_token_is_not_asked_about(endpoint):
    error = await refusal_of(endpoint.introspection().find_principal("x" * 20_000))
    assert error.reason is Reason.TOKEN_TOO_LARGE
    assert not endpoint.seen


@pytest.mark.parametrize(
    ("token", "is_opaque"), [("abc", True), ("a.b", True), ("a.b.c", True), ("e30.e30.", False), ("é.b.c", True)]
)
def test_only_what_looks_like_a_jws_is_none_for_the_issuer(endpoint, token, is_opaque):
    assert endpoint.introspection().is_opaque(token) is is_opaque


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[fd00:ec2::254]"])
async def test_metadata_cannot_send_the_token_and_our_secret_to_where_the_issuer_is_not(host, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"issuer": issuer, "introspection_endpoint": f"https://{host}:1/introspect"}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        rules = Generic(issuer, ["beer-service"], allow_loopback_http=True)
        patient = IntrospectionPolicy(timeout=PATIENCE_SECONDS)
        introspection = Introspection(rules, ClientSecret("beer-service", "a secret"), policy=patient)
        with pytest.raises(KeysUnavailable, match="not public"):
            await introspection.find_principal("opaque")
