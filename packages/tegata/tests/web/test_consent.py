"""The consent page as HTTP: ids, words, and links."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.protocol.policy import ScopeText
from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import Reply, Server, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


async def consent_page(server: Server, language: str = "en", **changes: str) -> Reply:
    """Return the page that a person who has just signed in sees."""
    browser = Browser(server, headers={"accept-language": language})
    return await browser.sign_in(await browser.get(RelyingParty(server).url(**changes)))


async def test_the_form_has_the_names_and_ids_that_automated_browsers_know(server: Server) -> None:
    page = await consent_page(server)
    form = Page(page).forms["consent-form"]
    assert form.action == page.url
    assert set(form.fields) == {"csrf_token"}
    assert form.buttons == {"consent-approve": ("decision", "approve"), "consent-deny": ("decision", "deny")}


async def test_sign_in_and_consent_are_at_different_addresses(server: Server) -> None:
    browser = Browser(server)
    sign_in = await browser.get(RelyingParty(server).url())
    consent = await browser.sign_in(sign_in)
    assert "/acme/sign-in?" in sign_in.url
    assert "/acme/consent?" in consent.url


async def test_a_scope_is_told_in_the_tenants_words_of_the_readers_language(server: Server) -> None:
    texts = {"en": "Read <your> orders", "ja": "注文を読む"}
    await server.change_policy(scopes=(ScopeText("read", texts),))
    assert "Read &lt;your&gt; orders" in (await consent_page(server, scope="openid read")).text
    assert "注文を読む" in (await consent_page(server, "ja", scope="openid read")).text


async def test_every_scope_that_will_be_granted_is_listed_and_no_other(server: Server) -> None:
    await server.change_client("web", scope="openid email write")
    page = await consent_page(server, scope="openid email write phone unknown")
    assert page.text.count("<li>") == 3
    assert "unknown" not in page.text


async def test_the_clients_home_page_is_linked_if_it_is_one(server: Server) -> None:
    await server.change_client("web", client_uri="https://rp.example.net/")
    assert 'href="https://rp.example.net/"' in (await consent_page(server)).text
    await server.change_client("web", client_uri="http://rp.example.net/")
    assert 'href="http://' not in (await consent_page(server)).text


async def test_a_hostile_name_of_a_client_or_person_is_text(server: Server) -> None:
    await server.change_client("web", client_name="<script>alert(1)</script>")
    await server.put_user("taro", claims={"name": "</p><b>Taro"})
    page = await consent_page(server)
    assert "<script>" not in page.text
    assert "<b>Taro" not in page.text


async def test_a_person_without_a_name_is_called_by_username(server: Server) -> None:
    await server.put_user("taro", claims={"name": ["not", "text"]})
    assert "taro" in (await consent_page(server)).text


async def test_the_page_is_not_shown_to_a_stranger(server: Server) -> None:
    page = await consent_page(server)
    reply = await Browser(server).get(page.url)
    assert "/sign-in?" in reply.url
    assert "consent-form" not in Page(reply).forms
