"""The authorization endpoint's decisions, asked through HTTP over storage in memory."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest

from tegata.protocol.interaction import ACR_PASSWORD
from tegata.testing.relying_party import Browser, Page, RelyingParty, claims_of, handle_in
from tegata.testing.server import API, CALLBACK, OTHER_API, Interleaved, Server, serving

pytestmark = pytest.mark.anyio

STRANGE = "https://attacker.example/callback"


# What only a person may see -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"client_id": None}, id="no client_id"),
        pytest.param({"client_id": "nobody"}, id="an unknown client"),
        pytest.param({"client_id": "closed"}, id="a disabled client"),
        pytest.param({"redirect_uri": STRANGE}, id="an unregistered redirect_uri"),
        pytest.param({"redirect_uri": CALLBACK + "?more=1"}, id="a query added to the redirect_uri"),
        pytest.param({"redirect_uri": CALLBACK + "/"}, id="a slash added to the redirect_uri"),
        pytest.param({"redirect_uri": CALLBACK.upper()}, id="a redirect_uri in capitals"),
        pytest.param({"redirect_uri": None}, id="no redirect_uri although openid needs one"),
    ],
)
async def test_without_a_verified_redirect_uri_the_refusal_is_a_page(
    server: Server, web: RelyingParty, browser: Browser, changes: dict[str, str | None]
) -> None:
    reply = await browser.get(web.url(**changes))
    assert reply.status == 400
    assert reply.location is None
    assert "error-code" in Page(reply).texts
    assert "attacker" not in reply.text


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_repeated_client_id_or_redirect_uri_is_a_page(web: RelyingParty, browser: Browser, name: str) -> None:
    pairs = [*web.request().items(), (name, web.request()[name])]
    reply = await browser.get(f"/acme/authorize?{urlencode(pairs)}")
    assert reply.status == 400
    assert reply.location is None
    assert Page(reply).texts["error-code"] == "invalid_request"


async def test_another_tenants_client_is_unknown_here(server: Server, browser: Browser) -> None:
    await server.storage.delete_client(server.tenants["other"].tenant_id, "web", events=())
    reply = await browser.get(RelyingParty(server, "web", "other").url())
    assert reply.status == 400
    assert Page(reply).texts["error-code"] == "invalid_client"


async def test_plain_oauth_may_leave_out_the_only_registered_redirect_uri(own: RelyingParty, browser: Browser) -> None:
    answer = await own.authorize(browser, scope="read", redirect_uri=None)
    reply = await own.redeem(answer["code"], redirect_uri=None)
    assert reply.status == 200
    assert "id_token" not in reply.json


# What the client is told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"response_type": None}, "invalid_request", id="no response_type"),
        pytest.param({"response_type": "token"}, "unsupported_response_type", id="the implicit grant"),
        pytest.param({"response_type": "code id_token"}, "unsupported_response_type", id="a hybrid"),
        pytest.param({"response_mode": "fragment"}, "invalid_request", id="an unknown response_mode"),
        pytest.param({"scope": "nothing"}, "invalid_scope", id="no such scope"),
        pytest.param({"scope": None}, "invalid_scope", id="no scope"),
        pytest.param({"scope": 'openid "quoted"'}, "invalid_scope", id="a malformed scope"),
        pytest.param({"code_challenge": None}, "invalid_request", id="a method without a challenge"),
        pytest.param({"code_challenge": None, "code_challenge_method": None}, "invalid_request", id="no PKCE"),
        pytest.param({"code_challenge_method": "plain"}, "invalid_request", id="plain PKCE"),
        pytest.param({"code_challenge_method": None}, "invalid_request", id="PKCE without a method"),
        pytest.param({"code_challenge": "short"}, "invalid_request", id="a challenge that is no SHA-256"),
        pytest.param({"prompt": "dance"}, "invalid_request", id="an unknown prompt"),
        pytest.param({"prompt": "none login"}, "invalid_request", id="prompt none with another"),
        pytest.param({"max_age": "-1"}, "invalid_request", id="a negative max_age"),
        pytest.param({"max_age": "soon"}, "invalid_request", id="a max_age in words"),
        pytest.param({"display": "hologram"}, "invalid_request", id="an unknown display"),
        pytest.param({"request": "e30.e30."}, "request_not_supported", id="a request object"),
        pytest.param({"request_uri": "https://rp.example.net/r"}, "request_uri_not_supported", id="a request_uri"),
        pytest.param({"claims": "{"}, "invalid_request", id="claims that are no JSON"),
        pytest.param({"claims": '{"userinfo": 1}'}, "invalid_request", id="claims of the wrong form"),
        pytest.param({"resource": "https://api.example.org/unknown"}, "invalid_target", id="an unknown resource"),
        pytest.param({"resource": API + "#part"}, "invalid_target", id="a resource with a fragment"),
        pytest.param({"prompt": "none"}, "login_required", id="prompt none without a session"),
        pytest.param({"id_token_hint": "e30.e30.e30"}, "login_required", id="a hint nobody signed"),
    ],
)
async def test_a_refusal_goes_to_the_client_with_state_and_issuer(
    server: Server, web: RelyingParty, browser: Browser, changes: dict[str, str | None], error: str
) -> None:
    answer = web.answer(await browser.get(web.url(**changes)))
    assert answer["error"] == error
    assert answer["state"] == web.state
    assert answer["iss"] == server.tenants["acme"].issuer
    assert "code" not in answer
    assert [event.type for event in await server.audit()] == ["authorization.refused"]


@pytest.mark.parametrize("name", ["scope", "nonce", "code_challenge", "response_type", "prompt", "anything"])
async def test_a_repeated_parameter_is_refused(web: RelyingParty, browser: Browser, name: str) -> None:
    pairs = [*web.request(prompt="login", anything="1").items(), (name, "again")]
    answer = web.answer(await browser.get(f"/acme/authorize?{urlencode(pairs)}"))
    assert answer["error"] == "invalid_request"
    assert answer["state"] == web.state


async def test_a_repeated_state_is_refused_and_none_is_returned(web: RelyingParty, browser: Browser) -> None:
    pairs = [*web.request().items(), ("state", "another")]
    answer = web.answer(await browser.get(f"/acme/authorize?{urlencode(pairs)}"))
    assert answer["error"] == "invalid_request"
    assert "state" not in answer


async def test_a_repeated_response_mode_is_answered_by_redirect(web: RelyingParty, browser: Browser) -> None:
    pairs = [*web.request(response_mode="form_post").items(), ("response_mode", "form_post")]
    reply = await browser.get(f"/acme/authorize?{urlencode(pairs)}")
    assert reply.location is not None
    assert web.answer(reply)["error"] == "invalid_request"


async def test_unknown_parameters_and_empty_ones_are_ignored(own: RelyingParty, browser: Browser) -> None:
    answer = await own.authorize(browser, extension="x", max_age="", prompt="", login_hint="")
    assert "code" in answer


async def test_a_client_without_the_code_grant_is_told_so(server: Server, web: RelyingParty, browser: Browser) -> None:
    await server.change_client("web", grant_types=("client_credentials",))
    assert web.answer(await browser.get(web.url()))["error"] == "unauthorized_client"


async def test_pkce_is_left_to_a_confidential_client_of_the_legacy_profile_only(
    server: Server, browser: Browser
) -> None:
    legacy = RelyingParty(server, "legacy")
    no_pkce: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
    answer = await legacy.authorize(browser, **no_pkce)
    assert (await legacy.redeem(answer["code"], code_verifier=None)).status == 200
    await server.change_client("legacy", token_endpoint_auth_method="none")
    assert (await legacy.authorize(browser, **no_pkce))["error"] == "invalid_request"


# The answer ---------------------------------------------------------------------------------------------------------


async def test_success_carries_code_state_and_issuer(server: Server, own: RelyingParty, browser: Browser) -> None:
    answer = await own.authorize(browser)
    assert set(answer) == {"code", "state", "iss"}
    assert answer["state"] == own.state
    assert answer["iss"] == server.tenants["acme"].issuer


async def test_without_state_none_is_returned(own: RelyingParty, browser: Browser) -> None:
    assert set(await own.authorize(browser, state=None)) == {"code", "iss"}


async def test_the_query_of_a_registered_redirect_uri_is_kept(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    registered = CALLBACK + "?dummy1=lorem&dummy2=ipsum"
    await server.change_client("own", redirect_uris=(registered,))
    own.redirect_uri = registered
    answer = await own.authorize(browser)
    assert (await own.redeem(answer["code"])).status == 200
    assert own.answer(await browser.get(own.url(scope="")))["error"] == "invalid_scope"


async def test_an_apps_private_scheme_is_answered_as_registered(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    own.redirect_uri = "com.example.app:/oauth/done"
    await server.change_client("own", redirect_uris=(own.redirect_uri,))
    assert "code" in await own.authorize(browser)


async def test_form_post_carries_the_answer_and_escapes_it(own: RelyingParty, browser: Browser) -> None:
    own.state = '"><script>alert(1)</script>&amp;'
    reply = await browser.get(own.url(response_mode="form_post"))
    reply = await browser.sign_in(reply)
    assert reply.status == 200
    assert "<script>alert" not in reply.text
    answer = own.answer(reply)
    assert answer["state"] == own.state
    assert (await own.redeem(answer["code"])).status == 200
    assert reply.header("cache-control") == "no-store"


async def test_form_post_carries_errors_too(web: RelyingParty, browser: Browser) -> None:
    reply = await browser.get(web.url(response_mode="form_post", prompt="none"))
    assert reply.status == 200
    assert web.answer(reply)["error"] == "login_required"


# Sessions, prompts, ages --------------------------------------------------------------------------------------------


async def test_a_living_session_is_answered_without_a_page(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    for prompt in (None, "none"):
        assert "code" in own.answer(await browser.get(own.url(prompt=prompt)))


async def test_a_session_ends_by_idleness_and_by_age(server: Server, own: RelyingParty, browser: Browser) -> None:
    await server.change_policy(session_idle_seconds=600, session_lifetime_seconds=1500)
    await own.sign_in(browser)
    server.clock.advance(599)
    assert "code" in own.answer(await browser.get(own.url(prompt="none")))
    server.clock.advance(599)
    assert "code" in own.answer(await browser.get(own.url(prompt="none")))
    server.clock.advance(599)
    assert own.answer(await browser.get(own.url(prompt="none")))["error"] == "login_required"


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
