"""Sessions, prompts, ages and hints: who is asked what, and never in circles (OIDC Core §3.1.2.1)."""

from __future__ import annotations

import json

import pytest

from tegata.protocol.interaction import ACR_PASSWORD
from tegata.testing.relying_party import Browser, Page, RelyingParty, claims_of
from tegata.testing.server import Server

pytestmark = pytest.mark.anyio


async def test_a_living_session_is_answered_without_a_page(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    for prompt in (None, "none"):
        assert "code" in own.answer(await browser.get(own.url(prompt=prompt)))


async def test_a_session_ends_by_idleness(server: Server, own: RelyingParty, browser: Browser) -> None:
    await server.change_policy(session_idle_seconds=600)
    await own.sign_in(browser)
    for _ in range(3):  # each look keeps it alive
        server.clock.advance(599)
        assert "code" in own.answer(await browser.get(own.url(prompt="none")))
    server.clock.advance(600)
    assert own.answer(await browser.get(own.url(prompt="none")))["error"] == "login_required"


async def test_a_session_ends_by_age_however_busy_it_is(server: Server, own: RelyingParty, browser: Browser) -> None:
    await server.change_policy(session_lifetime_seconds=1500)
    await own.sign_in(browser)
    for expected in ("code", "code", "error"):
        server.clock.advance(500)
        assert expected in own.answer(await browser.get(own.url(prompt="none")))


async def test_a_disabled_user_has_no_session(server: Server, own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    await server.put_user("taro", disabled=True)
    assert own.answer(await browser.get(own.url(prompt="none")))["error"] == "login_required"


async def test_a_session_of_one_tenant_means_nothing_at_another(server: Server, browser: Browser) -> None:
    await RelyingParty(server, "own").sign_in(browser)
    secret = browser.cookies["__Host-tegata-session-acme"]
    browser.cookies["__Host-tegata-session-other"] = secret
    elsewhere = RelyingParty(server, "own", "other")
    assert elsewhere.answer(await browser.get(elsewhere.url(prompt="none")))["error"] == "login_required"


async def test_prompt_login_asks_again_once_and_gives_a_newer_auth_time(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    before = claims_of((await own.sign_in(browser))["id_token"])
    server.clock.advance(100)
    reply = await browser.get(own.url(prompt="login"))
    assert "/sign-in?" in reply.url
    answer = own.answer(await browser.sign_in(reply))
    after = claims_of((await own.redeem(answer["code"])).json["id_token"])
    assert after["auth_time"] == before["auth_time"] + 100
    assert after["sub"] == before["sub"]


async def test_prompt_login_is_not_met_by_a_sign_in_from_before(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    await own.sign_in(browser)
    server.clock.advance(1)
    reply = await browser.get(own.url(prompt="login"))
    again = await browser.get(reply.url)
    assert "/sign-in?" in again.url


async def test_max_age_asks_again_only_when_it_has_passed(server: Server, own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    server.clock.advance(100)
    assert "code" in own.answer(await browser.get(own.url(max_age="10000")))
    assert own.answer(await browser.get(own.url(max_age="1", prompt="none")))["error"] == "login_required"
    reply = await browser.get(own.url(max_age="1"))
    assert "/sign-in?" in reply.url
    assert "code" in own.answer(await browser.sign_in(reply))


async def test_max_age_zero_is_met_by_one_sign_in_however_long_consent_takes(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    await web.sign_in(browser)
    server.clock.advance(5)
    reply = await browser.get(web.url(max_age="0", prompt="consent"))
    reply = await browser.sign_in(reply)
    assert "/consent?" in reply.url
    server.clock.advance(300)
    assert "code" in web.answer(await browser.approve(reply))


async def test_a_clients_default_max_age_counts(server: Server, own: RelyingParty, browser: Browser) -> None:
    await server.change_client("own", default_max_age=60)
    await own.sign_in(browser)
    server.clock.advance(100)
    assert own.answer(await browser.get(own.url(prompt="none")))["error"] == "login_required"


async def test_login_hint_fills_the_form_and_is_not_trusted(own: RelyingParty, browser: Browser) -> None:
    reply = await browser.get(own.url(login_hint='hanako"><b>'))
    assert Page(reply).forms["login-form"].fields["username"] == 'hanako"><b>'
    assert "><b>" not in reply.text
    answer = own.answer(await browser.sign_in(reply, "taro"))
    claims = claims_of((await own.redeem(answer["code"])).json["id_token"])
    assert claims["sub"] == str(own.tenant.users["taro"])


async def test_a_very_long_login_hint_is_shortened(own: RelyingParty, browser: Browser) -> None:
    reply = await browser.get(own.url(login_hint="x" * 5000))
    assert Page(reply).forms["login-form"].fields["username"] == "x" * 256


async def test_id_token_hint_of_the_user_at_hand_is_answered_silently(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    hint = (await own.sign_in(browser))["id_token"]
    server.clock.advance(7000)  # the hint has expired, and still says who it was about
    assert "code" in own.answer(await browser.get(own.url(prompt="none", id_token_hint=hint)))


async def test_id_token_hint_of_another_user_needs_that_user(server: Server, own: RelyingParty) -> None:
    hint = (await own.sign_in(username="hanako"))["id_token"]
    browser = Browser(server)
    await own.sign_in(browser, "taro")
    assert own.answer(await browser.get(own.url(prompt="none", id_token_hint=hint)))["error"] == "login_required"
    reply = await browser.get(own.url(id_token_hint=hint))
    assert "/sign-in?" in reply.url
    reply = await browser.sign_in(reply, "taro")
    assert reply.location is None or "code=" not in reply.location  # taro again is not hanako
    reply = await browser.get(own.url(id_token_hint=hint))
    answer = own.answer(await browser.sign_in(reply, "hanako"))
    claims = claims_of((await own.redeem(answer["code"])).json["id_token"])
    assert claims["sub"] == str(own.tenant.users["hanako"])


@pytest.mark.parametrize("whose", ["another client's", "another tenant's", "an access token"])
async def test_a_hint_that_is_not_this_clients_id_token_is_refused(
    server: Server, own: RelyingParty, whose: str
) -> None:
    browser = Browser(server)
    tokens = await own.sign_in(browser)
    hint = tokens["access_token"]
    if whose == "another client's":
        hint = (await RelyingParty(server, "legacy").sign_in(browser))["id_token"]
    elif whose == "another tenant's":
        hint = (await RelyingParty(server, "own", "other").sign_in(browser))["id_token"]
    answer = own.answer(await browser.get(own.url(id_token_hint=hint)))
    assert answer["error"] == "login_required"
    assert "authorization.refused id_token_hint" in await server.reasons()


async def test_a_pairwise_hint_is_understood(server: Server) -> None:
    pairwise, browser = RelyingParty(server, "pairwise"), Browser(server)
    hint = (await pairwise.sign_in(browser))["id_token"]
    assert claims_of(hint)["sub"] != str(server.tenants["acme"].users["taro"])
    assert "code" in pairwise.answer(await browser.get(pairwise.url(prompt="none", id_token_hint=hint)))


async def test_a_requested_subject_is_that_one_or_nobody(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser, "taro")
    for username, expected in (("taro", "code"), ("hanako", "error")):
        wanted = json.dumps({"id_token": {"sub": {"value": str(own.tenant.users[username])}}})
        assert expected in own.answer(await browser.get(own.url(prompt="none", claims=wanted)))


async def test_select_account_offers_the_account_at_hand_and_goes_on_with_it(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    await own.sign_in(browser)
    server.clock.advance(1)
    assert own.answer(await browser.get(own.url(prompt="select_account none")))["error"] == "invalid_request"
    reply = await browser.get(own.url(prompt="select_account"))
    assert "/choose-account?" in reply.url
    assert "code" in own.answer(await browser.submit(reply, "select-form", "select-continue"))


async def test_select_account_takes_another_account(server: Server, own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    server.clock.advance(1)
    reply = await browser.get(own.url(prompt="select_account"))
    answer = own.answer(await browser.sign_in(reply, "hanako"))
    claims = claims_of((await own.redeem(answer["code"])).json["id_token"])
    assert claims["sub"] == str(own.tenant.users["hanako"])


async def test_select_account_without_a_session_is_one_sign_in(own: RelyingParty, browser: Browser) -> None:
    reply = await browser.get(own.url(prompt="select_account"))
    assert "/sign-in?" in reply.url
    assert "code" in own.answer(await browser.sign_in(reply))


async def test_every_prompt_at_once_is_one_sign_in_and_one_consent(
    server: Server, web: RelyingParty, browser: Browser
) -> None:
    await web.sign_in(browser)
    server.clock.advance(1)
    reply = await browser.get(web.url(prompt="login consent select_account", max_age="0"))
    reply = await browser.sign_in(reply)
    assert "/consent?" in reply.url
    assert "code" in web.answer(await browser.approve(reply))


@pytest.mark.parametrize("prompt", [None, "none"])
async def test_an_essential_acr_that_cannot_be_reached_is_an_error(
    own: RelyingParty, browser: Browser, prompt: str | None
) -> None:
    wanted = json.dumps({"id_token": {"acr": {"essential": True, "values": ["urn:example:gold"]}}})
    answer = own.answer(await browser.get(own.url(claims=wanted, prompt=prompt)))
    assert answer["error"] == "unmet_authentication_requirements"


async def test_a_voluntary_acr_that_cannot_be_reached_is_not(own: RelyingParty, browser: Browser) -> None:
    answer = await own.authorize(browser, acr_values="urn:example:gold")
    claims = claims_of((await own.redeem(answer["code"])).json["id_token"])
    assert claims["acr"] == ACR_PASSWORD
    assert claims["amr"] == ["pwd"]
