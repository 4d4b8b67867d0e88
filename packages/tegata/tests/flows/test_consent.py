"""Consent: when it is asked for, what it covers, and whose answer counts."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty, claims_of
from tegata.testing.server import API, OTHER_API, Server

pytestmark = pytest.mark.anyio


async def asks(party: RelyingParty, browser: Browser, **changes: str | None) -> bool:
    """Whether a request of a signed-in person leads to the consent page."""
    return "/consent?" in (await browser.get(party.url(**changes))).url


async def test_consent_is_remembered_for_the_client_it_was_given_to(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    await web.sign_in(browser)
    assert not await asks(web, browser)
    assert not await asks(web, browser, scope="openid")
    assert not await asks(web, browser, prompt="none")
    assert await asks(RelyingParty(server, "shop"), browser)


async def test_consent_is_one_persons_and_one_tenants(server: Server, web: RelyingParty) -> None:
    await web.sign_in(username="taro")
    browser = Browser(server)
    assert "/consent?" in (await browser.sign_in(await browser.get(web.url()), "hanako")).url
    elsewhere = RelyingParty(server, "web", "other")
    assert "/consent?" in (await browser.sign_in(await browser.get(elsewhere.url()), "taro")).url


async def test_more_scopes_ask_again_and_add_to_what_is_remembered(web: RelyingParty, browser: Browser) -> None:
    await web.sign_in(browser)
    page = await browser.get(web.url(scope="openid email"))
    assert "/consent?" in page.url
    assert "code" in web.answer(await browser.approve(page))
    assert not await asks(web, browser, scope="openid profile email")


async def test_offline_access_is_asked_for_by_name(web: RelyingParty, browser: Browser) -> None:
    await web.sign_in(browser)
    page = await browser.get(web.url(scope="openid profile offline_access"))
    assert "/consent?" in page.url
    answer = web.answer(await browser.approve(page))
    assert "offline_access" in (await web.redeem(answer["code"])).json["scope"].split()


async def test_prompt_consent_asks_again(web: RelyingParty, browser: Browser) -> None:
    await web.sign_in(browser)
    page = await browser.get(web.url(prompt="consent"))
    assert "/consent?" in page.url
    assert "code" in web.answer(await browser.approve(page))
    assert await asks(web, browser, prompt="consent")


async def test_prompt_consent_asks_for_first_party_clients_too(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    assert not await asks(own, browser)
    assert await asks(own, browser, prompt="consent")


async def test_first_party_clients_are_not_asked_even_for_offline_access(own: RelyingParty, browser: Browser) -> None:
    answer = own.answer(await browser.sign_in(await browser.get(own.url(scope="openid offline_access write"))))
    assert (await own.redeem(answer["code"])).json["scope"] == "openid offline_access write"


async def test_prompt_none_without_consent_is_consent_required(
    server: Server, own: RelyingParty, web: RelyingParty, browser: Browser
) -> None:
    await own.sign_in(browser)
    assert web.answer(await browser.get(web.url(prompt="none")))["error"] == "consent_required"


async def test_the_page_lists_scopes_claims_and_resources_in_the_readers_words(
    server: Server, web: RelyingParty
) -> None:
    browser = Browser(server, headers={"accept-language": "en"})
    wanted = json.dumps({"userinfo": {"email": None, "department": {"essential": True}}, "id_token": {"acr": None}})
    pairs = [*web.request(scope="openid read write", claims=wanted).items(), ("resource", API), ("resource", OTHER_API)]
    page = await browser.sign_in(await browser.get(f"/acme/authorize?{urlencode(pairs)}"))
    for text in ("Read your orders", "Order desk", "Taro", API, OTHER_API):
        assert text in page.text
    assert "acr" not in page.text  # about the sign-in, not about the person


async def test_claims_asked_for_by_name_need_consent_of_their_own(web: RelyingParty, browser: Browser) -> None:
    await web.sign_in(browser)
    wanted = json.dumps({"userinfo": {"phone_number": None}, "id_token": {"email": {"essential": True}}})
    page = await browser.get(web.url(claims=wanted))
    assert "/consent?" in page.url
    tokens = (await web.redeem(web.answer(await browser.approve(page))["code"])).json
    assert claims_of(tokens["id_token"])["email"] == "taro@example.com"
    told = (await web.userinfo(tokens["access_token"])).json
    assert told["phone_number"] == "+81 3 0000 0000"
    assert "email" not in told
    assert not await asks(web, browser, claims=wanted)


async def test_claims_about_the_sign_in_need_no_consent(web: RelyingParty, browser: Browser) -> None:
    await web.sign_in(browser)
    assert not await asks(web, browser, claims=json.dumps({"id_token": {"auth_time": {"essential": True}}}))


async def test_a_page_of_one_user_answered_after_switching_to_another_does_not_count(
    server: Server, web: RelyingParty, own: RelyingParty, browser: Browser
) -> None:
    page = await browser.sign_in(await browser.get(web.url()), "taro")
    assert "Taro" in page.text
    server.clock.advance(1)
    await browser.sign_in(await browser.get(own.url(prompt="select_account")), "hanako")  # in another tab
    reply = await browser.approve(page)
    assert reply.status == 200
    assert "Hanako" in reply.text
    assert "consent.granted" not in [event.type for event in await server.audit()]
    answer = web.answer(await browser.approve(reply))
    claims = claims_of((await web.redeem(answer["code"])).json["id_token"])
    assert claims["sub"] == str(web.tenant.users["hanako"])


async def test_a_page_answered_after_signing_out_asks_to_sign_in(web: RelyingParty, browser: Browser) -> None:
    page = await browser.sign_in(await browser.get(web.url()))
    del browser.cookies["__Host-tegata-session-acme"]
    reply = await browser.approve(page)
    assert "/sign-in?" in reply.url
    assert "code" not in (reply.location or "")


async def test_without_the_right_token_nothing_is_decided(server: Server, web: RelyingParty, browser: Browser) -> None:
    page = await browser.sign_in(await browser.get(web.url()))
    form = Page(page).forms["consent-form"]
    other = await browser.get(web.url())
    tokens = {
        "missing": {},
        "made up": {"csrf_token": "x" * 43},
        "another request's": {"csrf_token": Page(other).forms["consent-form"].fields["csrf_token"]},
    }
    for name, token in tokens.items():
        for decision in ("approve", "deny"):
            reply = await browser.post(form.action, {**token, "decision": decision})
            assert reply.status == 200, name
            assert reply.location is None, name
    assert (await browser.post(form.action, {**form.fields, "decision": "approve"}, cross_site=True)).location is None
    assert (await browser.post(form.action, {**form.fields, "decision": "perhaps"})).status == 200
    assert "consent.granted" not in [event.type for event in await server.audit()]
    assert "code" in web.answer(await browser.approve(page))


async def test_the_sign_in_forms_token_is_no_consent(web: RelyingParty, browser: Browser) -> None:
    sign_in = await browser.get(web.url())
    token = Page(sign_in).forms["login-form"].fields["csrf_token"]
    page = await browser.sign_in(sign_in)
    reply = await browser.post(Page(page).forms["consent-form"].action, {"csrf_token": token, "decision": "approve"})
    assert reply.status == 200


async def test_consent_is_audited_with_user_client_and_scopes(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    await web.sign_in(browser)
    [granted] = await server.audit(type_prefix="consent.granted")
    assert granted.actor == str(web.tenant.users["taro"])
    assert granted.client_id == "web"
    assert granted.details["scope"] == "openid profile"
