"""Throttling of sign-in: by account, address and known browser, never a lockout (pitfalls P70, P71)."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest

from tegata.crypto.digests import digest_of
from tegata.flows import sign_in
from tegata.flows.browser import Browser as BrowserSecrets
from tegata.flows.passwords import PasswordPool
from tegata.flows.sign_in import NotSignedIn
from tegata.protocol.errors import temporarily_unavailable
from tegata.telemetry.audit import Origin
from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import PASSWORD, Reply, Server

pytestmark = pytest.mark.anyio

DEVICE = "__Host-tegata-device-acme"


async def guess(
    server: Server, *, username: str = "taro", password: str = "wrong", address: str = "192.0.2.66"
) -> Reply:
    """Try one password in a fresh browser."""
    browser = Browser(server, address=address)
    page = await browser.get(RelyingParty(server, "own").url())
    return await browser.sign_in(page, username, password)


def without_tokens(reply: Reply) -> str:
    """Return the page without what differs in every page."""
    return re.sub(r'(interaction=|name="csrf_token" value=")[\w-]+', r"\1", reply.text)


async def test_an_account_gets_its_free_guesses_then_pauses_that_grow_and_end(server: Server) -> None:
    for _ in range(5):
        assert (await guess(server)).header("retry-after") is None
    for pause in (2, 4, 8):
        for _ in range(3):  # guesses that have to wait are not counted, so they do not prolong the pause
            assert (await guess(server, password=PASSWORD)).header("retry-after") == str(pause)
        checked = len(server.passwords.checked)
        server.clock.advance(pause)
        assert (await guess(server)).header("retry-after") is None
        assert len(server.passwords.checked) == checked + 1
    server.clock.advance(16)
    assert (await guess(server, password=PASSWORD)).status == 303


async def test_a_pause_is_never_longer_than_the_longest(server: Server) -> None:
    pauses = []
    for _ in range(25):  # after the free ones, every second one only learns how long to wait
        pauses.append(int((await guess(server)).header("retry-after") or 0))
        server.clock.advance(pauses[-1])
    assert [pause for pause in pauses if pause] == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


async def test_throttled_and_wrong_look_different_but_known_and_unknown_accounts_do_not(server: Server) -> None:
    answers = {}
    for username in ("taro", "nobody"):
        for _ in range(6):
            reply = await guess(server, username=username)
        answers[username] = without_tokens(reply).replace(username, "")
        assert reply.header("retry-after") == "2"
    assert answers["taro"] == answers["nobody"]
    assert "sign_in.failed throttled" in await server.reasons()


async def test_a_good_password_clears_the_accounts_count(server: Server) -> None:
    for _ in range(3):
        for _ in range(4):
            await guess(server)
        assert (await guess(server, password=PASSWORD)).status == 303


async def test_a_forgotten_window_starts_again(server: Server) -> None:
    for _ in range(5):
        await guess(server)
    server.clock.advance(901)
    assert (await guess(server)).header("retry-after") is None
    assert (await guess(server)).header("retry-after") is None


async def test_guesses_at_many_accounts_from_one_address_are_slowed_down(server: Server) -> None:
    for number in range(50):
        assert (await guess(server, username=f"user{number}")).header("retry-after") is None
    assert (await guess(server, username="one-more")).header("retry-after") == "2"
    assert (await guess(server, username="one-more", address="198.51.100.1")).header("retry-after") is None


async def test_addresses_of_one_ipv6_network_count_together(server: Server) -> None:
    for number in range(50):
        await guess(server, username=f"user{number}", address=f"2001:db8:0:1::{number:x}")
    assert (await guess(server, username="a", address="2001:db8:0:1:ffff::1")).header("retry-after") == "2"
    assert (await guess(server, username="a", address="2001:db8:0:2::1")).header("retry-after") is None


async def test_throttles_of_two_tenants_are_apart(server: Server) -> None:
    for _ in range(6):
        await guess(server)
    browser = Browser(server)
    page = await browser.get(RelyingParty(server, "own", "other").url())
    assert (await browser.sign_in(page)).status == 303


async def test_a_known_browser_gets_in_while_an_attacker_is_throttled(server: Server) -> None:
    own, known = RelyingParty(server, "own"), Browser(server)
    await own.sign_in(known)
    for _ in range(6):
        attacked = await guess(server)
    assert attacked.header("retry-after") is not None
    stranger = await guess(server, password=PASSWORD, address="198.51.100.1")
    assert stranger.header("retry-after") is not None  # the owner in a new browser has to wait a little
    server.clock.advance(1)
    page = await known.get(own.url(prompt="login"))
    assert (await known.sign_in(page)).status == 303


async def test_a_known_browser_is_throttled_by_its_own_guesses_and_for_its_own_account_only(server: Server) -> None:
    own, known = RelyingParty(server, "own"), Browser(server)
    await own.sign_in(known)
    server.clock.advance(1)
    page = await known.get(own.url(prompt="login"))
    for _ in range(5):
        assert (await known.sign_in(page, "taro", "wrong")).header("retry-after") is None
    assert (await known.sign_in(page, "taro", "wrong")).header("retry-after") == "2"
    for _ in range(6):
        other = await known.sign_in(page, "hanako", "wrong")
    assert other.header("retry-after") == "2"
    # A browser that knows taro is no help with hanako, and hanako's owner's count was filled by it.
    assert (await guess(server, username="hanako", password=PASSWORD)).header("retry-after") == "2"


async def test_a_made_up_device_cookie_is_no_known_browser(server: Server) -> None:
    for _ in range(6):
        await guess(server)
    for value in ("", "x", digest_of("taro").hex(), "tarо"):
        forged = Browser(server, address="198.51.100.9")
        page = await forged.get(RelyingParty(server, "own").url())
        forged.cookies[DEVICE] = value.encode().decode("latin-1")
        assert (await forged.sign_in(page)).header("retry-after") is not None


async def test_a_device_of_one_tenant_is_unknown_at_another(server: Server) -> None:
    here, there = RelyingParty(server, "own"), RelyingParty(server, "own", "other")
    browser = Browser(server)
    await here.sign_in(browser)
    device = browser.cookies[DEVICE]
    await there.sign_in(browser)
    assert browser.cookies[DEVICE.replace("acme", "other")] != device


async def test_of_a_thousand_parallel_guesses_exactly_the_free_ones_are_checked(server: Server) -> None:
    loaded = await server.services.directory.find_tenant("acme")
    assert loaded is not None
    guesses = [
        sign_in.sign_in(
            server.services,
            loaded,
            "taro",
            f"guess {number}",
            browser=BrowserSecrets(),
            origin=Origin(f"198.51.{number // 250}.{number % 250}", "request"),
        )
        for number in range(1000)
    ]
    outcomes = await asyncio.gather(*guesses)
    reasons = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, NotSignedIn))
    assert reasons == {"wrong_credentials": 5, "throttled": 995}
    assert len(server.passwords.checked) == 5


async def test_sign_ins_that_succeed_do_not_slow_down_their_address(server: Server) -> None:
    for _ in range(60):  # an office behind one address, at nine in the morning
        assert (await guess(server, password=PASSWORD, address="192.0.2.200")).status == 303


async def test_a_guess_is_counted_before_it_is_checked(server: Server) -> None:
    seen = []

    class Watching(PasswordPool):
        async def verify(self, password_hash: str | None, password: str) -> bool:
            tables = server.storage._state.of(server.tenants["acme"].tenant_id)
            seen.append({failures.failures for failures in tables.throttles.values()})
            raise temporarily_unavailable("password_queue_full")

    server.app.passwords = Watching()
    await server.app.stop()
    await server.app.start()
    reply = await guess(server)
    assert seen == [{1}]
    assert reply.status == 503
    assert reply.header("retry-after") is not None
    assert Page(reply).texts["error-code"] == "temporarily_unavailable"
