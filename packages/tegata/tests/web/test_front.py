"""What every page has in common: language, headers, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.flows.browser import Browser as Secrets
from tegata.flows.browser import csrf_token
from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import Reply, Server, serving
from tegata.web.front import is_protected

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


async def every_page(server: Server) -> dict[str, Reply]:
    """Return one of each page that a person may see."""
    browser, web = Browser(server), RelyingParty(server)
    pages = {"sign-in": await browser.get(web.url())}
    pages["refused sign-in"] = await browser.sign_in(pages["sign-in"], "taro", "wrong")
    pages["consent"] = await browser.sign_in(pages["sign-in"])
    server.clock.advance(1)
    pages["choose account"] = await browser.get(web.url(prompt="select_account"))
    pages["logout question"] = await browser.get("/acme/end_session")
    pages["still signed in"] = await browser.submit(pages["logout question"], "logout-form", "logout-deny")
    pages["form_post"] = await browser.get(web.url(prompt="none", response_mode="form_post"))
    pages["signed out"] = await browser.submit(pages["logout question"], "logout-form", "logout-approve")
    pages["error"] = await browser.get("/acme/authorize")
    pages["not found"] = await browser.get("/nobody/authorize")
    return pages


async def test_every_page_is_protected_by_its_headers(server: Server) -> None:
    for name, page in (await every_page(server)).items():
        policy = page.header("content-security-policy") or ""
        assert "default-src 'none'" in policy, name
        assert "frame-ancestors 'none'" in policy, name
        assert "unsafe" not in policy, name
        assert page.header("x-frame-options") == "DENY", name
        assert page.header("x-content-type-options") == "nosniff", name
        assert page.header("cache-control") == "no-store", name
        assert (page.header("strict-transport-security") or "").startswith("max-age="), name
        assert "Accept-Language" in (page.header("vary") or ""), name
        assert page.header("content-type") == "text/html; charset=utf-8", name
        assert page.header("referrer-policy"), name


async def test_only_the_page_that_posts_itself_has_a_script(server: Server) -> None:
    for name, page in (await every_page(server)).items():
        assert ("<script" in page.text) is (name == "form_post"), name
        assert "javascript:" not in page.text, name


async def test_plain_http_announces_no_strict_transport() -> None:
    async with serving(base_url="http://127.0.0.1:8080") as server:
        page = await Browser(server).get(RelyingParty(server).url())
        assert page.header("strict-transport-security") is None


@pytest.mark.parametrize(
    ("accept_language", "ui_locales", "expected"),
    [
        (None, None, "en"),
        ("ja", None, "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", None, "ja"),
        ("fr", None, "en"),
        ("en", "ja", "ja"),
        ("ja", "fr en", "en"),
        ("ja", "tlh", "ja"),
    ],
)
async def test_the_language_is_the_clients_then_the_browsers_then_the_tenants(
    server: Server, accept_language: str | None, ui_locales: str | None, expected: str
) -> None:
    headers = {"accept-language": accept_language} if accept_language is not None else None
    browser = Browser(server, headers=headers)
    page = await browser.get(RelyingParty(server).url(ui_locales=ui_locales))
    assert page.header("content-language") == expected
    assert f'<html lang="{expected}"' in page.text


async def test_a_tenant_may_speak_japanese_by_default(server: Server) -> None:
    await server.change_policy(default_locale="ja")
    assert (await Browser(server).get(RelyingParty(server).url())).header("content-language") == "ja"


@pytest.mark.parametrize("value", ["*", ";;;,", "x" * 5000, "ja;q=abc", "日本語"])
async def test_a_strange_accept_language_is_no_fault(server: Server, value: str) -> None:
    browser = Browser(server, headers={"accept-language": value.encode().decode("latin-1")})
    assert (await browser.get(RelyingParty(server).url())).status == 200


async def test_an_error_page_names_the_error_and_the_request_and_quotes_nothing(server: Server) -> None:
    reply = await server.request("GET", "/acme/authorize?client_id=%3Cscript%3Ealert(1)%3C/script%3E")
    texts = Page(reply).texts
    assert texts["error-code"] == "invalid_client"
    assert len(texts["error-request-id"].strip()) == 22
    assert "alert(1)" not in reply.text


@pytest.mark.parametrize("path", ["/", "/nobody", "/nobody/authorize", "/acme", "/acme/", "/acme/nothing", "//acme"])
async def test_what_does_not_exist_is_a_page(server: Server, path: str) -> None:
    reply = await server.request("GET", server.base_url + path)
    assert reply.status == 404
    assert Page(reply).texts["error-code"] == "not_found"


async def test_forms_lead_to_the_server_itself(server: Server) -> None:
    for name, page in (await every_page(server)).items():
        for form in Page(page).forms.values():
            expected = RelyingParty(server).redirect_uri if name == "form_post" else f"{server.base_url}/acme/"
            assert form.action.startswith(expected), name


# Form tokens --------------------------------------------------------------------------------------------------------


def test_a_token_is_for_one_browser_and_one_purpose() -> None:
    mine, yours = Secrets(csrf_secret="mine"), Secrets(csrf_secret="yours")
    token = csrf_token("mine", "consent|1|taro")
    assert is_protected(mine, token, "consent|1|taro")
    for browser, sent, purpose in (
        (mine, token, "consent|1|hanako"),
        (mine, token, "sign-in|1"),
        (yours, token, "consent|1|taro"),
        (Secrets(), token, "consent|1|taro"),
        (mine, None, "consent|1|taro"),
        (mine, "", "consent|1|taro"),
        (mine, token[:-1], "consent|1|taro"),
        (mine, "日本", "consent|1|taro"),
    ):
        assert not is_protected(browser, sent, purpose)
