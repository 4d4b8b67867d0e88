"""Cookies: names and attributes over https and http, and when each is set, renewed and removed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import Server, serving

pytestmark = pytest.mark.anyio

DAYS_400 = 400 * 24 * 3600


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


async def cookies_of_a_sign_in(base_url: str) -> dict[str, list[str]]:
    """Return the attributes of each cookie that a sign-in sets."""
    async with serving(base_url=base_url) as server:
        browser = Browser(server)
        await RelyingParty(server, "own").sign_in(browser)
        parts = [line.split("; ") for line in browser.set_cookies]
        return {pair.partition("=")[0]: attributes for pair, *attributes in parts}


async def test_over_https_every_cookie_is_bound_to_this_very_host() -> None:
    common = ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"]
    assert await cookies_of_a_sign_in("https://id.example.com") == {
        "__Host-tegata-form-acme": common,
        "__Host-tegata-session-acme": common,
        "__Host-tegata-device-acme": [*common, f"Max-Age={DAYS_400}"],
    }


async def test_over_http_they_are_plain_but_for_scripts_and_other_sites() -> None:
    common = ["Path=/", "HttpOnly", "SameSite=Lax"]
    assert await cookies_of_a_sign_in("http://127.0.0.1:8080") == {
        "tegata-form-acme": common,
        "tegata-session-acme": common,
        "tegata-device-acme": [*common, f"Max-Age={DAYS_400}"],
    }


async def test_each_secret_in_a_cookie_is_random_and_a_new_one(server: Server) -> None:
    seen = set()
    for _ in range(3):
        browser = Browser(server)
        await RelyingParty(server, "own").sign_in(browser)
        for kind in ("session", "form"):
            value = browser.cookies[f"__Host-tegata-{kind}-acme"]
            assert len(value) == 43
            seen.add(value)
    assert len(seen) == 6


async def test_the_form_cookie_is_set_once_and_kept(server: Server) -> None:
    browser = Browser(server)
    own = RelyingParty(server, "own")
    await browser.sign_in(await browser.get(own.url(prompt="login")), "taro", "wrong")
    assert len([line for line in browser.set_cookies if "-form-" in line]) == 1


async def test_a_page_is_never_shown_without_the_cookie_that_its_form_needs(server: Server) -> None:
    browser = Browser(server)
    page = await browser.get(RelyingParty(server, "own").url())
    assert Page(page).forms["login-form"].fields["csrf_token"]
    assert "__Host-tegata-form-acme" in browser.cookies


async def test_signing_out_removes_the_session_and_leaves_the_device_known(server: Server) -> None:
    browser, own = Browser(server), RelyingParty(server, "own")
    hint = (await own.sign_in(browser))["id_token"]
    reply = await browser.get(f"/acme/end_session?id_token_hint={hint}")
    assert reply.all("set-cookie") == [
        "__Host-tegata-session-acme=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0",
    ]
    assert set(browser.cookies) == {"__Host-tegata-form-acme", "__Host-tegata-device-acme"}


async def test_cookies_of_two_tenants_live_side_by_side(server: Server) -> None:
    browser = Browser(server)
    for tenant in ("acme", "other"):
        await RelyingParty(server, "own", tenant).sign_in(browser)
    assert len(browser.cookies) == 6
    for tenant in ("acme", "other"):
        party = RelyingParty(server, "own", tenant)
        assert "code" in party.answer(await browser.get(party.url(prompt="none")))


@pytest.mark.parametrize("value", ["", "x", "é", "a" * 5000, '"quoted"', "a=b"])
async def test_strange_cookies_are_no_session_and_no_fault(server: Server, value: str) -> None:
    own = RelyingParty(server, "own")
    for kind in ("session", "form", "device"):
        browser = Browser(server)
        browser.cookies[f"__Host-tegata-{kind}-acme"] = value.encode().decode("latin-1")
        page = await browser.get(own.url())
        assert page.status == 200
        assert "code" in own.answer(await browser.sign_in(page))


async def test_a_browser_that_sends_several_cookie_lines_is_understood(server: Server) -> None:
    browser, own = Browser(server), RelyingParty(server, "own")
    await own.sign_in(browser)
    session = browser.cookies["__Host-tegata-session-acme"]
    browser.cookies = {"other": "1;__Host-tegata-session-acme=" + session + ";;=; x"}
    assert "code" in own.answer(await browser.get(own.url(prompt="none")))
