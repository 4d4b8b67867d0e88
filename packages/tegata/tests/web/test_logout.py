"""Logout as HTTP: what travels on, which cookies change, and what the pages say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import SIGNED_OUT, Server, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


@pytest.fixture
def own(server: Server) -> RelyingParty:
    return RelyingParty(server, "own")


async def test_the_question_has_the_ids_that_automated_browsers_know(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    await own.sign_in(browser)
    form = Page(await browser.get("/acme/end_session")).forms["logout-form"]
    assert set(form.fields) == {"csrf_token"}
    assert form.buttons == {"logout-approve": ("decision", "approve"), "logout-deny": ("decision", "deny")}


async def test_the_hint_does_not_travel_on_in_an_address(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    await own.sign_in(browser, "hanako")
    hint = (await own.sign_in(Browser(server), "taro"))["id_token"]
    target = f"/acme/end_session?id_token_hint={hint}&post_logout_redirect_uri={SIGNED_OUT}&state=a%26b&ui_locales=ja"
    page = await browser.get(target)
    form = Page(page).forms["logout-form"]
    assert hint not in page.text
    assert parse_qs(urlsplit(form.action).query) == {
        "client_id": ["own"],
        "post_logout_redirect_uri": [SIGNED_OUT],
        "state": ["a&b"],
        "ui_locales": ["ja"],
    }
    assert page.header("content-language") == "ja"
    reply = await browser.submit(page, "logout-form", "logout-approve")
    assert reply.location == SIGNED_OUT + "?state=a%26b"


async def test_the_question_may_lead_on_to_the_client_only_if_it_asked_for_that(
    server: Server, own: RelyingParty
) -> None:
    browser = Browser(server)
    await own.sign_in(browser)
    plain = await browser.get("/acme/end_session")
    assert (plain.header("content-security-policy") or "").endswith("form-action 'self'")
    leading = await browser.get(f"/acme/end_session?client_id=own&post_logout_redirect_uri={SIGNED_OUT}")
    assert (leading.header("content-security-policy") or "").endswith("form-action 'self' https:")


async def test_the_session_cookie_goes_with_the_session_and_stays_otherwise(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    hint = (await own.sign_in(browser))["id_token"]
    page = await browser.get("/acme/end_session")
    assert page.all("set-cookie") == []
    kept = await browser.submit(page, "logout-form", "logout-deny")
    assert kept.all("set-cookie") == []
    ended = await browser.get(f"/acme/end_session?id_token_hint={hint}&post_logout_redirect_uri={SIGNED_OUT}")
    assert [line.partition("=")[0] for line in ended.all("set-cookie")] == ["__Host-tegata-session-acme"]


async def test_a_post_comes_back_by_get_with_what_it_said(server: Server, own: RelyingParty) -> None:
    reply = await server.request("POST", "/acme/end_session", fields={"client_id": "own", "state": "a&b", "more": ""})
    assert reply.status == 303
    assert reply.location == f"{own.tenant.issuer}/end_session?client_id=own&state=a%26b"
    bare = await server.request("POST", "/acme/end_session", fields={})
    assert bare.location == f"{own.tenant.issuer}/end_session"


async def test_a_post_that_is_no_form_is_an_error_page(server: Server) -> None:
    reply = await server.request("POST", "/acme/end_session", body=b"{}", headers={"content-type": "application/json"})
    assert reply.status == 400
    assert "error-code" in Page(reply).texts


async def test_the_answer_to_the_question_is_posted_only(server: Server) -> None:
    assert (await server.request("GET", "/acme/sign-out")).status == 405


async def test_an_apps_private_scheme_is_no_link_but_a_place_to_go(server: Server, own: RelyingParty) -> None:
    await server.change_client("own", post_logout_redirect_uris=("com.example.app:/bye",))
    hint = (await own.sign_in())["id_token"]
    where = "post_logout_redirect_uri=com.example.app:/bye"
    reply = await Browser(server).get(f"/acme/end_session?client_id=own&{where}")
    assert "com.example.app" not in Page(reply).texts.get("signed-out-continue", "")
    reply = await Browser(server).get(f"/acme/end_session?id_token_hint={hint}&{where}")
    assert reply.location == "com.example.app:/bye"
