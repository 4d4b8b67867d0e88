"""The identity endpoint is down, slow or broken: a living token is used on, without one the error is clear."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from tegata_credentials import asyncpg as our_asyncpg
from tegata_credentials import psycopg as our_psycopg
from tegata_credentials.azure import managed_identity, sync_managed_identity
from tegata_credentials.errors import IdentityUnavailable
from tegata_credentials.testing import SYSTEM_ASSIGNED, Answer, Laboratory
from tegata_credentials.tokens import RefreshPolicy, SyncTokenSource, TokenSource

pytestmark = pytest.mark.anyio

UNHURRIED = RefreshPolicy(fetch_timeout=60)
LIFETIME_SECONDS = 240
DUE_SECONDS = 200  # in the margin: another token is due, this one lives for long enough to be slow


@dataclass(frozen=True)
class Fault:
    """What the endpoint does, and how the error may be named."""

    answer: Answer | None = None
    silent: bool = False
    down: bool = False
    reasons: tuple[str, ...] = ("bad_answer",)


FAULTS = {
    "nobody listens": Fault(down=True, reasons=("unreachable",)),
    "no answer ever": Fault(silent=True, reasons=("timeout",)),
    "500": Fault(Answer(500, {"error": "internal"}), reasons=("failing",)),
    "503 with a page": Fault(Answer(503, b"<h1>no</h1>", "text/html"), reasons=("failing",)),
    "400 no such identity": Fault(
        Answer(400, {"error": "invalid_request", "error_description": "Identity not found"}),
        reasons=("refused", "not_configured"),
    ),
    "403": Fault(Answer(403, {"error": "forbidden"}), reasons=("refused",)),
    "a page with status 200": Fault(Answer(200, b"<html>sign in</html>", "text/html")),
    "broken JSON": Fault(Answer(200, b'{"access_token": "eyJ')),
    "random bytes": Fault(Answer(200, bytes(range(256)))),
    "nothing": Fault(Answer(200, b"")),
    "an empty object": Fault(Answer(200, {})),
    "a list": Fault(Answer(200, ["access_token"])),
    "a number": Fault(Answer(200, b"7")),
    "null": Fault(Answer(200, b"null")),
    "an empty token": Fault(Answer(200, {"access_token": "", "expires_on": "4102444800", "resource": "x"})),
    "a token that is null": Fault(Answer(200, {"access_token": None, "expires_on": "4102444800", "resource": "x"})),
    "an end that is a word": Fault(Answer(200, {"access_token": "t", "expires_on": "soon", "resource": "x"})),
}


def broken_around_a_token(lab: Laboratory) -> Answer:
    """A true token, cut off by a proxy behind it: whoever shows this answer shows the token."""
    token = lab.issuer.issue(SYSTEM_ASSIGNED)
    return Answer(200, f'{{"access_token": "{token.value}", "expires_on": '.encode())


class Terms:
    """What a source needs, by the laboratory's clock, which stands still; only silence is waited for briefly."""

    def __init__(self, lab: Laboratory) -> None:
        lab.clock.stop()
        self.policy: Any = SimpleNamespace(**asdict(RefreshPolicy(fetch_timeout=60, patience=0.2)))
        self._clock = lab.clock

    def as_arguments(self) -> dict[str, Any]:
        clocks = {"clock": self._clock, "ticks": self._clock}
        return {"auth_method": "managed_identity", "policy": self.policy, **clocks}


@pytest.fixture
def terms(lab: Laboratory) -> Terms:
    return Terms(lab)


def strike(lab: Laboratory, fault: Fault, terms: Terms) -> None:
    terms.policy.fetch_timeout = 1.5 if fault.silent else 60
    lab.identity.behaviour.answer = fault.answer
    lab.identity.behaviour.silent = fault.silent
    if fault.down:
        lab.go_down()


def recover(lab: Laboratory, fault: Fault, terms: Terms) -> None:
    terms.policy.fetch_timeout = 60
    lab.identity.behaviour.answer = None
    lab.identity.behaviour.silent = False
    if fault.down:
        lab.come_back()


async def log_in(database: Any, tokens: TokenSource) -> None:
    connection = await our_asyncpg.connect(database.verified_url("app"), password=tokens)
    await connection.close()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_without_a_token_the_error_is_clear_and_no_login_is_tried(
    fault: Fault, lab: Laboratory, terms: Terms, database: Any, overheard: Any
) -> None:
    tokens = TokenSource(managed_identity(), **terms.as_arguments())
    strike(lab, fault, terms)
    try:
        for _ in range(3):  # the second and third are answered from memory
            with pytest.raises(IdentityUnavailable) as caught:
                await asyncio.wait_for(log_in(database, tokens), 120)
            assert overheard.caught(caught.value).reason in fault.reasons
        assert lab.binds == []
        assert len(lab.calls) <= 2
    finally:
        recover(lab, fault, terms)
    lab.clock.offset_seconds += 60
    await log_in(database, tokens)
    assert len(lab.logins()) == 1
    await tokens.close()


@pytest.mark.parametrize("name", FAULTS)
async def test_a_living_token_is_used_on_until_the_endpoint_recovers(
    name: str, lab: Laboratory, terms: Terms, database: Any, count: Any
) -> None:
    fault = FAULTS[name]
    tokens = TokenSource(managed_identity(), **terms.as_arguments())
    lab.issuer.lifetime_seconds = LIFETIME_SECONDS
    await log_in(database, tokens)
    lab.clock.offset_seconds = DUE_SECONDS
    strike(lab, fault, terms)
    try:
        calls = len(lab.calls)
        for _ in range(5):
            await log_in(database, tokens)
        assert [bind.token for bind in lab.logins()] == [lab.logins()[0].token] * 6
        tried = len(lab.calls) - calls
        assert tried <= 2
    finally:
        recover(lab, fault, terms)
    lab.clock.offset_seconds = DUE_SECONDS + 5
    for _ in range(50):
        await log_in(database, tokens)
        if len({bind.token for bind in lab.logins()}) == 2:
            break
        lab.clock.offset_seconds += 0.5
        await asyncio.sleep(0.1)
    assert len({bind.token for bind in lab.logins()}) == 2
    assert lab.refusals() == []
    await tokens.close()
    count(f"identity endpoint at fault, token alive: {name}", logins=5, errors=0, identity_calls=tried)


async def test_an_outage_longer_than_the_token_ends_in_clear_errors_and_then_by_itself(
    lab: Laboratory, terms: Terms, database: Any, overheard: Any, count: Any
) -> None:
    tokens = TokenSource(managed_identity(), **terms.as_arguments())
    lab.issuer.lifetime_seconds = LIFETIME_SECONDS
    await log_in(database, tokens)
    lab.go_down()
    served = refused = 0
    try:
        for second in (*range(20, 220, 20), *range(260, 420, 20)):
            lab.clock.offset_seconds = second
            try:
                await log_in(database, tokens)
                served += 1
            except IdentityUnavailable as error:
                overheard.caught(error)
                refused += 1
    finally:
        lab.come_back()
    # The token is used as long as it lives, and never after: the database has refused nobody.
    assert (served, refused) == (10, 8)
    assert lab.refusals() == []
    lab.clock.offset_seconds = 500
    await log_in(database, tokens)
    await tokens.close()
    count("outage longer than the token", logins_before=served, clear_errors=refused, logins_after=1)


SYNC_FAULTS = ("nobody listens", "no answer ever", "500", "a page with status 200", "broken JSON")


@pytest.mark.parametrize("name", SYNC_FAULTS)
def test_threads_get_the_same_clear_error_and_the_same_living_token(
    name: str, lab: Laboratory, terms: Terms, database: Any, overheard: Any
) -> None:
    fault = FAULTS[name]
    tokens = SyncTokenSource(sync_managed_identity(), **terms.as_arguments())

    def log_in_once() -> None:
        our_psycopg.connect(database.verified_url("app"), password=tokens).close()

    strike(lab, fault, terms)
    try:
        with pytest.raises(IdentityUnavailable) as caught:
            log_in_once()
        assert overheard.caught(caught.value).reason in fault.reasons
    finally:
        recover(lab, fault, terms)
    lab.issuer.lifetime_seconds = LIFETIME_SECONDS
    lab.clock.offset_seconds = 60
    log_in_once()
    lab.clock.offset_seconds = 60 + DUE_SECONDS
    strike(lab, fault, terms)
    try:
        for _ in range(3):
            log_in_once()
    finally:
        recover(lab, fault, terms)
    assert len({bind.token for bind in lab.logins()}) == 1
    assert len(lab.logins()) == 4
    tokens.close()


async def test_a_slow_endpoint_is_waited_for_and_asked_once(lab: Laboratory, database: Any) -> None:
    lab.identity.behaviour.delay_seconds = 0.5
    tokens = TokenSource(managed_identity(), auth_method="managed_identity", policy=UNHURRIED)
    await asyncio.gather(*(log_in(database, tokens) for _ in range(10)))
    assert len(lab.calls) == 1
    assert len(lab.logins()) == 10
    await tokens.close()


async def test_one_bad_answer_is_survived_without_an_error(lab: Laboratory, database: Any, count: Any) -> None:
    lab.identity.behaviour.next_answers = [Answer(500, {"error": "internal"})]
    tokens = TokenSource(managed_identity(), auth_method="managed_identity", policy=UNHURRIED)
    await log_in(database, tokens)
    assert [call.status for call in lab.calls] == [500, 200]
    await tokens.close()
    count("one 500 of the identity endpoint", logins=1, errors=0, identity_calls=2)


async def test_a_token_in_a_broken_answer_is_shown_by_nobody(lab: Laboratory, database: Any, overheard: Any) -> None:
    lab.identity.behaviour.answer = broken_around_a_token(lab)
    tokens = TokenSource(managed_identity(), auth_method="managed_identity", policy=UNHURRIED)
    with pytest.raises(IdentityUnavailable) as caught:
        await log_in(database, tokens)
    assert overheard.caught(caught.value).reason == "bad_answer"
    await tokens.close()


async def test_a_redirect_does_not_carry_the_identity_header_away(
    lab: Laboratory, database: Any, overheard: Any
) -> None:
    lab.identity.behaviour.answer = Answer(302, b"", headers={"location": f"{lab.address}/elsewhere"})
    tokens = TokenSource(managed_identity(), auth_method="managed_identity", policy=UNHURRIED)
    with pytest.raises(IdentityUnavailable) as caught:
        await log_in(database, tokens)
    overheard.caught(caught.value)
    assert [(call.path, call.status) for call in lab.calls if call.with_header] == [("/msi/token", 302)]
    await tokens.close()


async def test_a_name_that_does_not_resolve_is_unreachable(
    lab: Laboratory, database: Any, azure: Any, overheard: Any, count: Any
) -> None:
    azure.setenv("IDENTITY_ENDPOINT", "http://identity.invalid/msi/token")  # RFC 6761 §6.4: it never resolves
    tokens = TokenSource(managed_identity(), auth_method="managed_identity", policy=UNHURRIED)
    with pytest.raises(IdentityUnavailable) as caught:
        await asyncio.wait_for(log_in(database, tokens), 120)
    assert overheard.caught(caught.value).reason in ("unreachable", "timeout")
    assert lab.binds == []
    azure.setenv("IDENTITY_ENDPOINT", lab.app_service()["IDENTITY_ENDPOINT"])
    await tokens.close()
    count("identity host does not resolve", logins=0, clear_errors=1)
