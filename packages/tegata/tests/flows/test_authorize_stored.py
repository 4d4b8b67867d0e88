"""Requests that wait for pages or come by POST: taken up once, checked again, and ended by a refusal."""

from __future__ import annotations

import asyncio
import json

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty, claims_of, handle_in
from tegata.testing.server import API, OTHER_API, Interleaved, Server, serving

pytestmark = pytest.mark.anyio

STRANGE = "https://attacker.example/callback"


# Stored requests ----------------------------------------------------------------------------------------------------


async def test_of_two_tabs_with_the_same_request_one_gets_a_code(server: Server, web: RelyingParty) -> None:
    browser = Browser(server)
    page = await browser.sign_in(await browser.get(web.url()))
    first, second = await asyncio.gather(browser.approve(page), browser.approve(page))
    codes = [reply for reply in (first, second) if reply.location and "code=" in reply.location]
    pages = [reply for reply in (first, second) if reply.location is None]
    assert (len(codes), len(pages)) == (1, 1)
    assert pages[0].status == 400
    assert (await browser.approve(page)).status == 400


async def test_of_approving_and_denying_at_once_only_one_reaches_the_client() -> None:
    async with serving(through=Interleaved) as server:
        web, browser = RelyingParty(server), Browser(server)
        page = await browser.sign_in(await browser.get(web.url()))
        replies = await asyncio.gather(
            browser.approve(page), *(browser.submit(page, "consent-form", "consent-deny") for _ in range(5))
        )
        assert sum(reply.location is not None for reply in replies) == 1


async def test_a_request_that_waits_for_pages_expires(server: Server, web: RelyingParty, browser: Browser) -> None:
    page = await browser.get(web.url())
    server.clock.advance(1801)
    reply = await browser.sign_in(page)
    assert reply.status == 400
    assert "error-description" in Page(reply).texts
    assert not [event for event in await server.audit() if event.type.startswith("sign_in")]


async def test_looking_at_a_page_does_not_use_the_request_up(web: RelyingParty, browser: Browser) -> None:
    page = await browser.get(web.url())
    for _ in range(3):
        page = await browser.get(page.url)
    page = await browser.sign_in(page)
    for _ in range(3):
        page = await browser.get(page.url)
    assert "code" in web.answer(await browser.approve(page))


async def test_the_back_button_leads_on_from_pages_that_are_done(web: RelyingParty, browser: Browser) -> None:
    sign_in = await browser.get(web.url())
    await browser.sign_in(sign_in)
    assert "/consent?" in (await browser.get(sign_in.url)).url
    assert "/consent?" in (await browser.sign_in(sign_in, "nobody", "at all")).url


async def test_no_request_and_a_strange_one_are_pages(server: Server, browser: Browser) -> None:
    for path in ("sign-in", "consent", "choose-account", "authorize/resume"):
        assert (await browser.get(f"/acme/{path}")).status == 400
        assert (await browser.get(f"/acme/{path}?interaction=made-up")).status == 400


async def test_a_request_of_one_tenant_is_unknown_at_another(web: RelyingParty, browser: Browser) -> None:
    handle = handle_in((await browser.get(web.url())).url)
    assert (await browser.get(f"/other/sign-in?interaction={handle}")).status == 400


async def test_a_client_disabled_in_between_gets_nothing(server: Server, web: RelyingParty, browser: Browser) -> None:
    page = await browser.get(web.url())
    await server.change_client("web", disabled=True)
    reply = await browser.sign_in(page)
    assert reply.status == 400
    assert reply.location is None


async def test_a_redirect_uri_taken_away_in_between_gets_nothing(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    page = await browser.sign_in(await browser.get(web.url()))
    await server.change_client("web", redirect_uris=("https://rp.example.net/new",))
    reply = await browser.approve(page)
    assert reply.status == 400
    assert reply.location is None


async def test_a_scope_taken_away_in_between_is_told_to_the_client(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    page = await browser.sign_in(await browser.get(web.url(scope="read")))
    await server.change_client("web", scope="openid")
    answer = web.answer(await browser.approve(page))
    assert answer["error"] == "invalid_scope"
    assert answer["state"] == web.state


async def test_cancelling_the_sign_in_is_access_denied_and_ends_the_request(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    page = await browser.get(web.url())
    answer = web.answer(await browser.submit(page, "login-form", "login-cancel"))
    assert (answer["error"], answer["state"]) == ("access_denied", web.state)
    assert answer["iss"] == web.tenant.issuer
    assert (await browser.get(page.url)).status == 400
    assert (await server.reasons())[-1] == "authorization.refused denied_by_user"


async def test_denying_consent_is_access_denied_and_ends_the_request(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    page = await browser.sign_in(await browser.get(web.url()))
    answer = web.answer(await browser.submit(page, "consent-form", "consent-deny"))
    assert (answer["error"], answer["state"]) == ("access_denied", web.state)
    assert (await browser.approve(page)).status == 400
    assert "/consent?" in (await browser.get(web.url())).url  # nothing was remembered


async def test_a_refusal_after_pages_ends_the_request(server: Server, web: RelyingParty, browser: Browser) -> None:
    handle = handle_in((await browser.get(web.url())).url)
    wanted = json.dumps({"id_token": {"acr": {"essential": True, "value": "urn:example:gold"}}})
    assert web.answer(await browser.get(web.url(claims=wanted)))["error"] == "unmet_authentication_requirements"
    assert (await browser.get(f"/acme/sign-in?interaction={handle}")).status == 200


async def test_nothing_is_stored_when_no_page_is_needed(server: Server, own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    tables = server.storage._state.of(own.tenant.tenant_id)
    assert not tables.interactions
    await browser.get(own.url())
    await browser.get(own.url(scope="nothing"))
    assert not tables.interactions


# POST (OIDC Core §3.1.2.1) ------------------------------------------------------------------------------------------


async def test_a_post_from_another_site_sees_the_living_session(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    reply = await browser.post("/acme/authorize", own.request(prompt="none"), cross_site=True)
    assert "code" in own.answer(reply)


async def test_a_post_without_a_session_leads_to_the_sign_in_page(own: RelyingParty, browser: Browser) -> None:
    reply = await browser.post("/acme/authorize", own.request(), cross_site=True)
    assert "/sign-in?" in reply.url
    assert "code" in own.answer(await browser.sign_in(reply))


async def test_a_post_from_our_own_site_is_answered_at_once(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    assert "code" in own.answer(await browser.post("/acme/authorize", own.request()))


@pytest.mark.parametrize("signed_in", [True, False])
async def test_a_post_keeps_several_resources(own: RelyingParty, browser: Browser, signed_in: bool) -> None:
    if signed_in:
        await own.sign_in(browser)
    pairs = [*own.request().items(), ("resource", API), ("resource", OTHER_API)]
    reply = await browser.post("/acme/authorize", pairs, cross_site=True)
    answer = own.answer(reply if signed_in else await browser.sign_in(reply))
    tokens = (await own.redeem(answer["code"], resource=OTHER_API)).json
    assert claims_of(tokens["access_token"])["aud"] == OTHER_API


@pytest.mark.parametrize("name", ["scope", "nonce", "state", "code_challenge"])
async def test_a_repeated_parameter_in_a_post_from_another_site_is_refused(
    own: RelyingParty, browser: Browser, name: str
) -> None:
    await own.sign_in(browser)
    pairs = [*own.request().items(), (name, "again")]
    answer = own.answer(await browser.post("/acme/authorize", pairs, cross_site=True))
    assert answer["error"] == "invalid_request"
    assert "state" not in answer if name == "state" else answer["state"] == own.state


@pytest.mark.parametrize("cross_site", [True, False])
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"response_type": None}, "invalid_request", id="no response_type"),
        pytest.param({"scope": "nothing"}, "invalid_scope", id="no such scope"),
        pytest.param({"request": "e30.e30."}, "request_not_supported", id="a request object"),
        pytest.param({"prompt": "none"}, "login_required", id="prompt none without a session"),
    ],
)
async def test_a_refusal_of_a_post_goes_to_the_client(
    web: RelyingParty, browser: Browser, changes: dict[str, str | None], error: str, cross_site: bool
) -> None:
    reply = await browser.post("/acme/authorize", web.request(**changes), cross_site=cross_site)
    answer = web.answer(reply)
    assert (answer["error"], answer["state"]) == (error, web.state)


async def test_a_post_for_an_unregistered_redirect_uri_is_a_page(web: RelyingParty, browser: Browser) -> None:
    reply = await browser.post("/acme/authorize", web.request(redirect_uri=STRANGE), cross_site=True)
    assert reply.status == 400
    assert reply.location is None
