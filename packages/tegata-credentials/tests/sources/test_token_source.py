"""One token for many callers: single flight, renewal in time, outages, rejections."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import time
from typing import Any

import pytest

from tegata_credentials import CredentialError, IdentityUnavailable, Token

pytestmark = pytest.mark.anyio


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_fifty_cold_callers_make_one_fetch(source, provider):
    provider.gate = asyncio.Event()
    callers = [asyncio.create_task(source.current()) for _ in range(50)]
    await settle()
    provider.gate.set()
    assert set(await asyncio.gather(*callers)) == {"token-1"}
    assert provider.fetches == 1


async def test_a_warm_source_asks_nobody(source, provider):
    assert [await source.current() for _ in range(5)] == ["token-1"] * 5
    assert provider.fetches == 1


async def test_a_cancelled_caller_leaves_the_fetch_to_the_others(source, provider):
    provider.gate = asyncio.Event()
    callers = [asyncio.create_task(source.current()) for _ in range(3)]
    await settle()
    callers[0].cancel()
    await settle()
    provider.gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == ["token-1", "token-1"]
    assert provider.fetches == 1


async def test_a_fetch_whose_callers_are_all_gone_still_serves_the_next(source, provider):
    provider.gate = asyncio.Event()
    caller = asyncio.create_task(source.current())
    await settle()
    caller.cancel()
    await settle()
    provider.gate.set()
    await settle()
    assert await source.current() == "token-1"
    assert provider.fetches == 1


async def test_a_failing_fetch_wakes_all_callers_with_the_same_error_each_with_its_own_object(source, provider):
    provider.gate = asyncio.Event()
    provider.failure = IdentityUnavailable("refused", status=400)
    callers = [asyncio.create_task(source.current()) for _ in range(50)]
    await settle()
    provider.gate.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert {(type(error), error.reason, error.status) for error in errors} == {(IdentityUnavailable, "refused", 400)}
    assert len({id(error) for error in errors}) == 50
    assert provider.fetches == 1


async def test_after_a_failure_nobody_asks_again_for_a_second(source, provider, clock):
    provider.failure = IdentityUnavailable("unreachable")
    for _ in range(20):
        with pytest.raises(IdentityUnavailable) as caught:
            await source.current()
        assert caught.value.reason == "unreachable"
    assert provider.fetches == 1
    clock.pass_by(1.0)
    provider.failure = None
    assert await source.current() == "token-2"


async def test_without_a_token_the_pause_after_failures_does_not_grow(source, provider, clock):
    provider.failure = IdentityUnavailable("unreachable")
    for _ in range(6):
        with pytest.raises(IdentityUnavailable):
            await source.current()
        clock.pass_by(1.0)
    assert provider.fetches == 6


async def test_the_token_is_renewed_when_a_fifth_of_its_life_is_left(source, provider, clock):
    provider.life = 100.0
    await source.current()
    clock.pass_by(79.9)
    assert await source.current() == "token-1"
    assert provider.fetches == 1
    clock.pass_by(0.2)
    assert await source.current() == "token-2"


async def test_a_long_token_is_renewed_five_minutes_before_its_end(source, provider, clock):
    provider.life = 86_400.0
    await source.current()
    clock.pass_by(86_400.0 - 301.0)
    assert await source.current() == "token-1"
    clock.pass_by(2.0)
    assert await source.current() == "token-2"


async def test_a_slow_renewal_holds_up_callers_briefly_and_serves_the_living_token(new_source, provider, clock):
    source = new_source(provider, patience=0.02)
    await source.current()
    clock.pass_by(3400.0)
    provider.gate = asyncio.Event()
    assert [await source.current() for _ in range(5)] == ["token-1"] * 5
    assert provider.fetches == 2
    provider.gate.set()
    await settle()
    assert await source.current() == "token-2"
    assert provider.fetches == 2


async def test_a_living_token_is_served_through_an_outage(source, provider, clock):
    await source.current()
    provider.failure = IdentityUnavailable("unreachable")
    clock.pass_by(3400.0)
    for _ in range(199):
        clock.pass_by(1.0)
        assert await source.current() == "token-1"
    # 1 s, 2 s, 4 s, 8 s, 16 s, then every 30 s: not once a second
    assert 5 <= provider.fetches - 1 <= 12
    clock.pass_by(2.0)
    with pytest.raises(IdentityUnavailable):
        await source.current()


async def test_after_an_outage_the_next_caller_gets_a_new_token(source, provider, clock):
    await source.current()
    provider.failure = IdentityUnavailable("unreachable")
    clock.pass_by(3601.0)
    with pytest.raises(IdentityUnavailable):
        await source.current()
    provider.failure = None
    clock.pass_by(1.0)
    assert await source.current() == "token-3"


async def test_a_fetch_that_never_ends_is_ended(new_source, provider):
    source = new_source(provider, fetch_timeout=0.02)
    provider.gate = asyncio.Event()
    with pytest.raises(IdentityUnavailable) as caught:
        await source.current()
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        pytest.param(ValueError("eyJ.secret.token"), "provider_error", id="an error of the provider's own"),
        pytest.param(TimeoutError("eyJ.secret.token"), "timeout", id="a timeout of the provider's own"),
        pytest.param(KeyError("eyJ.secret.token"), "provider_error", id="a key error"),
    ],
)
async def test_an_unexpected_error_of_the_provider_is_named_but_not_quoted(source, provider, failure, reason):
    provider.failure = failure
    with pytest.raises(IdentityUnavailable) as caught:
        await source.current()
    assert caught.value.reason == reason
    assert "secret" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_a_providers_advice_about_its_set_up_reaches_the_caller(source, provider):
    provider.failure = CredentialError("`boto3` is not installed: install `tegata-credentials[aws]`")
    with pytest.raises(IdentityUnavailable, match=r"install `tegata-credentials\[aws\]`") as caught:
        await source.current()
    assert caught.value.reason == "not_configured"


async def test_a_fetch_that_something_else_cancels_is_said_to_be_cancelled(new_source):
    class Cancelling:
        async def fetch(self) -> Token:
            raise asyncio.CancelledError

    with pytest.raises(IdentityUnavailable) as caught:
        await new_source(Cancelling()).current()
    assert caught.value.reason == "cancelled"


async def test_an_empty_token_is_no_token(source, provider):
    provider.tokens = [Token("", None)]
    with pytest.raises(IdentityUnavailable) as caught:
        await source.current()
    assert caught.value.reason == "bad_answer"


async def test_a_rejected_token_is_dropped_and_the_provider_told_to_forget_it(source, provider):
    await source.rejected(await source.current())
    assert await source.current() == "token-2"
    assert provider.discards == 1


async def test_a_rejection_ends_the_pause_after_a_failed_renewal(source, provider, clock):
    value = await source.current()
    clock.pass_by(3400.0)
    provider.failure = IdentityUnavailable("unreachable")
    assert await source.current() == value
    provider.failure = None
    await source.rejected(value)
    assert await source.current() == "token-3"


async def test_five_rejections_of_one_token_make_one_fetch(source, provider):
    async def login() -> str:
        value = await source.current()
        await asyncio.sleep(0)
        await source.rejected(value)
        return await source.current()

    assert set(await asyncio.gather(*[login() for _ in range(5)])) == {"token-2"}
    assert provider.fetches == 2
    assert provider.discards == 1


async def test_the_rejection_of_an_old_token_does_not_drop_the_new_one(source, provider):
    old = await source.current()
    await source.rejected(old)
    await source.current()
    await source.rejected(old)
    await source.rejected("something else")
    assert await source.current() == "token-2"


async def test_a_token_fetched_before_a_rejection_is_not_kept_after_it(source, provider, clock, new_source):
    source = new_source(provider, patience=0.0)
    first = await source.current()
    clock.pass_by(3400.0)
    provider.gate = asyncio.Event()
    assert await source.current() == first  # a renewal has begun
    await settle()
    provider.tokens = [Token(first, clock.wall + 3600.0), Token("another", clock.wall + 3600.0)]
    await source.rejected(first)
    caller = asyncio.create_task(source.current())
    await settle()
    provider.gate.set()
    assert await caller == "another"
    assert provider.discards == 1


async def test_a_database_that_refuses_every_token_does_not_make_a_storm(source, provider, clock):
    for _ in range(600):
        await source.rejected(await source.current())
        await source.rejected(await source.current())
        clock.pass_by(0.1)
    assert provider.fetches <= 8  # after 0, 1, 3, 7, 15, 31 and 61 seconds


async def test_a_replacement_that_is_refused_too_stays_for_a_moment(source, provider, clock):
    await source.rejected(await source.current())
    second = await source.current()
    await source.rejected(second)
    assert await source.current() == second
    clock.pass_by(1.1)
    await source.rejected(second)
    assert await source.current() == "token-3"


async def test_a_replacement_that_has_worked_is_replaced_at_once(source, provider, clock):
    for number in range(1, 6):
        value = await source.current()
        assert value == f"token-{number}"
        source.accepted(value)
        clock.pass_by(0.1)
        await source.rejected(value)
    assert provider.fetches == 5


async def test_a_closed_source_gives_nothing_and_has_closed_its_provider(source, provider):
    await source.current()
    await source.close()
    with pytest.raises(IdentityUnavailable) as caught:
        await source.current()
    assert caught.value.reason == "closed"
    assert provider.closed == 1


async def test_closing_ends_a_fetch_and_wakes_its_callers(source, provider):
    provider.gate = asyncio.Event()
    caller = asyncio.create_task(source.current())
    await settle()
    await source.close()
    with pytest.raises(IdentityUnavailable) as caught:
        await caller
    assert caught.value.reason == "closed"


async def test_the_fetch_does_not_run_in_the_context_of_the_first_caller(new_source):
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")
    seen: list[str] = []

    class Looking:
        async def fetch(self) -> Token:
            seen.append(tenant.get())
            return Token("x", None)

    tenant.set("somebody")
    await new_source(Looking()).current()
    assert seen == ["nobody"]


async def test_neither_repr_nor_pickle_gives_the_token_away(source):
    value = await source.current()
    shown = [repr(source), repr(value), repr(vars(source)), repr([value]), repr({"password": value})]
    assert not any("token-1" in text for text in shown)
    for thing in (source, value, Token("token-1")):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
    assert repr(Token("token-1", 5.0)) == "Token(expires_at=5.0)"


async def test_the_log_tells_of_tokens_and_shows_none(source, provider, clock, caplog: Any):
    caplog.set_level("DEBUG")
    await source.rejected(await source.current())
    provider.failure = IdentityUnavailable("refused")
    with pytest.raises(IdentityUnavailable):
        await source.current()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("tegata")] == [
        "token obtained",
        "the database has rejected the token",
        "no token obtained: refused",
    ]
    assert caplog.records[0].auth_method == "managed_identity"
    assert caplog.records[0].life_seconds == 3600
    assert caplog.records[2].reason == "refused"
    assert not any("token-1" in str(vars(record)) for record in caplog.records)


async def test_real_clocks_are_the_default(provider):
    from tegata_credentials import TokenSource

    provider.clock.wall = time.time()
    source = TokenSource(provider, auth_method="aws_iam")
    assert await source.current() == "token-1"
    assert source.auth_method == "aws_iam"
