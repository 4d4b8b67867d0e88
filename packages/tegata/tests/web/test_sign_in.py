"""The sign-in and account pages as HTTP: what the page shows, and how its form answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import CALLBACK, PASSWORD, Server, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


@pytest.fixture
def web(server: Server) -> RelyingParty:
    return RelyingParty(server)


async def test_the_form_has_the_names_and_ids_that_automated_browsers_know(server: Server, web: RelyingParty) -> None:
    form = Page(await Browser(server).get(web.url())).forms["login-form"]
    assert set(form.fields) == {"csrf_token", "username", "password"}
    assert set(form.buttons) == {"login-submit", "login-cancel"}


async def test_the_page_shows_who_asks_and_their_links(server: Server, web: RelyingParty) -> None:
    await server.change_client(
        "web",
        logo_uri="https://rp.example.net/logo.png",
        policy_uri="https://rp.example.net/policy",
        tos_uri="javascript:alert(1)",
    )
    page = await Browser(server).get(web.url())
    assert "Order desk" in page.text
    assert 'src="https://rp.example.net/logo.png"' in page.text
    assert 'href="https://rp.example.net/policy"' in page.text
    assert "javascript:" not in page.text
    assert "https://rp.example.net" in (page.header("content-security-policy") or "").partition("img-src")[2]


async def test_a_client_without_a_name_is_called_by_its_identifier(server: Server, web: RelyingParty) -> None:
    await server.change_client("web", client_name="")
    assert ">web<" in (await Browser(server).get(web.url())).text


async def test_the_form_may_lead_on_to_the_client(server: Server, web: RelyingParty) -> None:
    page = await Browser(server).get(web.url())
    assert "form-action 'self' https:" in (page.header("content-security-policy") or "")


async def test_a_refusal_keeps_the_username_and_forgets_the_password(server: Server, web: RelyingParty) -> None:
    browser = Browser(server)
    reply = await browser.sign_in(await browser.get(web.url()), 'taro"><i>', "a wrong password")
    form = Page(reply).forms["login-form"]
    assert form.fields["username"] == 'taro"><i>'
    assert form.fields["password"] == ""
    assert "a wrong password" not in reply.text
    assert '"><i>' not in reply.text


async def test_the_retry_after_of_a_pause_is_in_the_answer(server: Server, web: RelyingParty) -> None:
    browser = Browser(server)
    page = await browser.get(web.url())
    for _ in range(6):
        reply = await browser.sign_in(page, "taro", "wrong")
    assert (reply.status, reply.header("retry-after")) == (200, "2")


async def test_asking_again_offers_the_name_of_who_is_signed_in(server: Server, web: RelyingParty) -> None:
    browser = Browser(server)
    await web.sign_in(browser)
    server.clock.advance(1)
    page = await browser.get(web.url(prompt="login"))
    assert Page(page).forms["login-form"].fields["username"] == "taro"


async def test_the_account_page_greets_and_lets_somebody_else_in(server: Server, web: RelyingParty) -> None:
    browser = Browser(server)
    await web.sign_in(browser)
    server.clock.advance(1)
    page = await browser.get(web.url(prompt="select_account"))
    forms = Page(page).forms
    assert "Taro" in page.text
    assert set(forms) == {"select-form", "login-form"}
    assert forms["select-form"].action == forms["login-form"].action == page.url
    assert forms["login-form"].fields["username"] == ""


async def test_the_account_page_at_the_sign_in_address_is_the_same_question(server: Server, web: RelyingParty) -> None:
    browser = Browser(server)
    await web.sign_in(browser)
    server.clock.advance(1)
    page = await browser.get(web.url(prompt="select_account"))
    there = await browser.get(page.url.replace("choose-account", "sign-in"))
    assert set(Page(there).forms) == {"select-form", "login-form"}


async def test_parameters_of_the_form_that_stand_twice_are_not_there(server: Server, web: RelyingParty) -> None:
    browser = Browser(server)
    page = await browser.get(web.url())
    token = Page(page).forms["login-form"].fields["csrf_token"]
    fields = [("csrf_token", token), ("username", "taro"), ("username", "hanako"), ("password", PASSWORD)]
    reply = await browser.post(page.url, fields)
    assert reply.status == 200
    assert "__Host-tegata-session-acme" not in browser.cookies


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b"{}", "application/json", 400, id="JSON"),
        pytest.param(b"", "", 400, id="nothing"),
        pytest.param(b"username=%FF", "application/x-www-form-urlencoded", 400, id="invalid UTF-8"),
        pytest.param(b"x=" + b"y" * 70_000, "application/x-www-form-urlencoded", 413, id="too much"),
    ],
)
async def test_a_body_that_is_no_form_is_an_error_page(
    server: Server, web: RelyingParty, body: bytes, content_type: str, status: int
) -> None:
    page = await Browser(server).get(web.url())
    reply = await server.request("POST", page.url, body=body, headers={"content-type": content_type})
    assert reply.status == status
    assert "error-code" in Page(reply).texts


@pytest.mark.parametrize("length", [1024, 1025, 10_000])
async def test_endless_passwords_are_refused_like_wrong_ones(length: int) -> None:
    async with serving(quick_passwords=False) as server:
        browser = Browser(server)
        page = await browser.get(RelyingParty(server).url())
        reply = await browser.sign_in(page, "taro", "x" * length)
        assert reply.status == 200
        assert "login-error" in Page(reply).texts


async def test_signing_in_leads_to_the_client_by_get(server: Server) -> None:
    browser, own = Browser(server), RelyingParty(server, "own")
    reply = await browser.sign_in(await browser.get(own.url()))
    assert reply.status == 303
    assert (reply.location or "").startswith(CALLBACK + "?code=")
    assert {line.partition("=")[0] for line in reply.all("set-cookie")} == {
        "__Host-tegata-session-acme",
        "__Host-tegata-device-acme",
    }
