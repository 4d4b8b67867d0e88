"""The authorization endpoint as HTTP: methods, headers, and what cannot even be parsed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import Server, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


@pytest.fixture
def own(server: Server) -> RelyingParty:
    return RelyingParty(server, "own")


async def test_redirects_are_303_and_leak_nothing(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    reply = await browser.sign_in(await browser.get(own.url()))
    assert reply.status == 303  # a 307 would post the password to the client (RFC 9700 §4.12)
    assert reply.header("cache-control") == "no-store"
    assert reply.header("referrer-policy") == "no-referrer"
    assert reply.body == b""


async def test_head_is_get_without_the_body(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    await own.sign_in(browser)
    cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    for headers in ({}, cookie):
        reply = await server.request("HEAD", own.url(), headers=headers)
        assert reply.status == 303
    page = await Browser(server).get(own.url())
    head = await server.request("HEAD", page.url)
    assert (head.status, head.body) == (200, b"")
    assert int(head.header("content-length") or 0) > 1000


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused_by_name(server: Server, own: RelyingParty, method: str) -> None:
    reply = await server.request(method, own.url())
    assert reply.status == 405
    assert reply.header("allow") == "GET, POST, HEAD"
    assert reply.header("access-control-allow-origin") is None  # pages are for browsers, not for scripts


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("client_id=%FF", id="invalid UTF-8"),
        pytest.param("client_id=a%00b", id="a NUL"),
        pytest.param("client_id=a%0D%0Ab", id="a line break"),
        pytest.param("&".join(f"p{n}=1" for n in range(101)), id="too many parameters"),
        pytest.param("state=" + "x" * 16_385, id="a parameter without end"),
    ],
)
async def test_a_query_that_cannot_be_parsed_is_a_page(server: Server, query: str) -> None:
    reply = await server.request("GET", f"/acme/authorize?{query}")
    assert reply.status == 400
    assert (reply.header("content-type") or "").startswith("text/html")
    assert Page(reply).texts["error-code"] == "invalid_request"


async def test_a_post_that_is_no_form_is_a_page(server: Server, own: RelyingParty) -> None:
    for headers in ({"content-type": "application/json"}, {}):
        reply = await server.request("POST", "/acme/authorize", body=b"{}", headers=headers)
        assert reply.status == 400
        assert Page(reply).texts["error-code"] == "invalid_request"


async def test_a_post_ignores_the_query(server: Server, own: RelyingParty) -> None:
    reply = await Browser(server).post("/acme/authorize?client_id=web&state=other", own.request(), cross_site=True)
    assert "/sign-in?" in reply.url


async def test_header_injection_through_state_is_impossible(server: Server, own: RelyingParty) -> None:
    own.state = "a b&c=d#e?f/é%"
    browser = Browser(server)
    assert (await own.authorize(browser))["state"] == own.state


async def test_an_answer_carries_no_cookie_of_another_tenant(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    await own.sign_in(browser)
    assert all("-acme=" in line for line in browser.set_cookies)
