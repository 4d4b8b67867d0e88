"""Throttling must slow down who guesses, and nobody else (pitfalls P70)."""

from __future__ import annotations

import pytest

from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import PASSWORD, Reply, Server

pytestmark = pytest.mark.anyio

OFFICE = "192.0.2.10"


async def attempt(server: Server, browser: Browser, username: str, password: str) -> Reply:
    """Sign in again in this browser, whatever it knows already."""
    page = await browser.get(RelyingParty(server, "own").url(prompt="login"))
    return await browser.sign_in(page, username, password)


async def test_good_sign_ins_from_one_address_never_throttle_it(server: Server) -> None:
    """An office behind one address, or everybody behind a proxy that is not in TEGATA_TRUSTED_PROXIES."""
    for _ in range(60):
        server.clock.advance(60)
        reply = await attempt(server, Browser(server, address=OFFICE), "taro", PASSWORD)
        assert reply.status == 303


async def test_guesses_from_the_same_address_do_not_keep_a_known_device_out(server: Server) -> None:
    owner = Browser(server, address=OFFICE)
    assert (await attempt(server, owner, "taro", PASSWORD)).status == 303
    for number in range(60):
        server.clock.advance(301)
        await attempt(server, Browser(server, address=OFFICE), f"guess-{number}", "wrong")
    server.clock.advance(5)
    assert (await attempt(server, owner, "taro", PASSWORD)).status == 303


async def test_an_account_has_one_counter_however_it_is_named(server: Server) -> None:
    names = ("taro", "taro@example.com")
    checked = 0
    for number in range(10):
        address = f"198.51.100.{number}"
        before = len(server.passwords.checked)
        await attempt(server, Browser(server, address=address), names[number % 2], "wrong")
        checked += len(server.passwords.checked) - before
    assert checked == 5
