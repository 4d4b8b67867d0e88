"""The authorization endpoint's decisions, asked through HTTP over storage in memory."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import API, CALLBACK, Server

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
