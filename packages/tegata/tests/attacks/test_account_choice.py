"""The choice of an account is the person's (OIDC Core §3.1.2.1, prompt=select_account)."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tegata.testing.relying_party import Browser, RelyingParty, handle_in
from tegata.testing.server import Reply, Server

pytestmark = pytest.mark.anyio


async def asked_to_choose(server: Server, party: RelyingParty, browser: Browser) -> Reply:
    await RelyingParty(server, "own").sign_in(browser)
    server.clock.advance(10)
    reply = await browser.get(party.url(prompt="select_account"))
    assert "/choose-account?" in reply.url
    return reply


async def test_the_consent_page_opened_by_hand_is_no_choice(server: Server) -> None:
    """A page that knows the handle could lead past the choice."""
    browser, party = Browser(server), RelyingParty(server)
    handle = handle_in((await asked_to_choose(server, party, browser)).url)
    for made_up in ("", "&chosen=", "&chosen=x", "&chosen=%C3%A9"):
        reply = await browser.get(f"/acme/consent?interaction={handle}{made_up}")
        assert "/choose-account?" in reply.url


async def test_who_has_chosen_is_asked_for_consent_and_gets_a_code(server: Server) -> None:
    browser, party = Browser(server), RelyingParty(server)
    page = await asked_to_choose(server, party, browser)
    reply = await browser.submit(page, "select-form", "select-continue")
    assert "/consent?" in reply.url
    assert "code" in party.answer(await browser.approve(reply))


async def test_the_choice_of_one_browser_is_none_in_another(server: Server) -> None:
    browser, party, other = Browser(server), RelyingParty(server), Browser(server)
    await asked_to_choose(server, RelyingParty(server), other)
    page = await asked_to_choose(server, party, browser)
    reply = await browser.submit(page, "select-form", "select-continue")
    opened = await other.get(f"/acme/consent?{urlsplit(reply.url).query}")
    assert "/consent?" not in opened.url
