"""RP-initiated logout: the whole table of who may end which session, and where the browser goes."""

from __future__ import annotations

import pytest

from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import SIGNED_OUT, Reply, Server

pytestmark = pytest.mark.anyio

SESSION = "__Host-tegata-session-acme"


async def is_signed_in(party: RelyingParty, browser: Browser) -> bool:
    """Whether a silent request finds a session."""
    return "code" in party.answer(await browser.get(party.url(prompt="none")))


def url(party: RelyingParty, **parameters: str | None) -> str:
    """Return the address that begins a logout."""
    sent = {name: value for name, value in parameters.items() if value is not None}
    return f"/{party.tenant_name}/end_session?" + "&".join(f"{name}={value}" for name, value in sent.items())


def what(reply: Reply) -> str:
    """Return which answer this is."""
    if reply.location is not None:
        return "redirect"
    texts = Page(reply).texts
    for identifier, name in (("logout-form", "question"), ("signed-out", "signed out"), ("error-code", "error")):
        if identifier in texts:
            return name
    return "still signed in" if "still-signed-in" in texts else "something else"


@pytest.mark.parametrize(
    ("parameters", "answer", "signed_in_after"),
    [
        pytest.param({}, "question", True, id="nothing"),
        pytest.param({"client_id": "own"}, "question", True, id="client_id"),
        pytest.param({"client_id": "nobody"}, "question", True, id="an unknown client"),
        pytest.param({"hint": "own"}, "signed out", False, id="hint"),
        pytest.param({"hint": "own", "uri": SIGNED_OUT}, "redirect", False, id="hint and redirect"),
        pytest.param({"hint": "own", "client_id": "own", "uri": SIGNED_OUT}, "redirect", False, id="all of them"),
        pytest.param({"client_id": "own", "uri": SIGNED_OUT}, "question", True, id="client_id and redirect"),
        pytest.param({"uri": SIGNED_OUT}, "error", True, id="redirect alone"),
        pytest.param({"client_id": "nobody", "uri": SIGNED_OUT}, "error", True, id="redirect of an unknown client"),
        pytest.param({"client_id": "closed", "uri": SIGNED_OUT}, "error", True, id="redirect of a disabled client"),
        pytest.param({"hint": "own", "uri": SIGNED_OUT + "?a=1"}, "error", True, id="query added to the redirect"),
        pytest.param({"hint": "own", "uri": "https://attacker.example/"}, "error", True, id="unregistered redirect"),
        pytest.param({"hint": "own", "client_id": "web"}, "error", True, id="hint for another client"),
        pytest.param({"hint": "changed"}, "error", True, id="changed hint"),
        pytest.param({"hint": "unsigned"}, "error", True, id="unsigned hint"),
        pytest.param({"hint": "access token"}, "error", True, id="access token as hint"),
        pytest.param({"hint": "other tenant"}, "error", True, id="hint of another tenant"),
        pytest.param({"hint": "other user"}, "question", True, id="hint of another user"),
        pytest.param({"hint": "other user", "uri": SIGNED_OUT}, "question", True, id="hint of another user, redirect"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_table(
    server: Server,
    own: RelyingParty,
    browser: Browser,
    parameters: dict[str, str],
    answer: str,
    signed_in_after: bool,
    method: str,
) -> None:
    tokens = await own.sign_in(browser)
    header, claims, signature = tokens["id_token"].split(".")
    hints = {
        "own": tokens["id_token"],
        "changed": f"{header}.{claims[:-4]}AAAA.{signature}",
        "unsigned": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.",
        "access token": tokens["access_token"],
        "other tenant": (await RelyingParty(server, "own", "other").sign_in())["id_token"],
        "other user": (await own.sign_in(username="hanako"))["id_token"],
    }
    sent = {
        "id_token_hint": hints[parameters["hint"]] if "hint" in parameters else None,
        "client_id": parameters.get("client_id"),
        "post_logout_redirect_uri": parameters.get("uri"),
        "state": "abc" if "uri" in parameters else None,
    }
    if method == "GET":
        reply = await browser.get(url(own, **sent))
    else:
        fields = {name: value for name, value in sent.items() if value is not None}
        reply = await browser.post("/acme/end_session", fields, cross_site=True)
    assert what(reply) == answer
    assert reply.status == (303 if answer == "redirect" else 400 if answer == "error" else 200)
    if answer == "redirect":
        assert reply.location == SIGNED_OUT + "?state=abc"
    assert (SESSION in browser.cookies) is signed_in_after
    assert await is_signed_in(own, browser) is signed_in_after


async def test_a_post_with_nothing_from_another_site_ends_no_session(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    await browser.post("/acme/end_session", {}, cross_site=True)
    assert SESSION in browser.cookies
    assert await is_signed_in(own, browser)


async def test_state_is_returned_only_if_it_was_sent_and_only_with_a_redirect(
    own: RelyingParty, browser: Browser
) -> None:
    hint = (await own.sign_in(browser))["id_token"]
    reply = await browser.get(url(own, id_token_hint=hint, post_logout_redirect_uri=SIGNED_OUT))
    assert reply.location == SIGNED_OUT
    reply = await browser.get(url(own, id_token_hint=hint, state="abc"))
    assert what(reply) == "signed out"
    assert "abc" not in reply.text


async def test_the_query_of_a_registered_uri_is_kept(server: Server, own: RelyingParty, browser: Browser) -> None:
    await server.change_client("own", post_logout_redirect_uris=("https://rp.example.net/?page=bye",))
    hint = (await own.sign_in(browser))["id_token"]
    where = "https%3A%2F%2Frp.example.net%2F%3Fpage%3Dbye"
    reply = await browser.get(url(own, id_token_hint=hint, post_logout_redirect_uri=where, state="a%26b"))
    assert reply.location == "https://rp.example.net/?page=bye&state=a%26b"


async def test_without_a_session_the_hint_still_leads_back(own: RelyingParty, browser: Browser) -> None:
    hint = (await own.sign_in(browser))["id_token"]
    browser.cookies.clear()
    reply = await browser.get(url(own, id_token_hint=hint, post_logout_redirect_uri=SIGNED_OUT))
    assert reply.location == SIGNED_OUT
    assert what(await browser.get("/acme/end_session")) == "signed out"
    reply = await browser.get(url(own, client_id="own", post_logout_redirect_uri=SIGNED_OUT))
    assert what(reply) == "signed out"  # a link, not a redirect: anybody could have sent the browser here
    assert f'href="{SIGNED_OUT}"' in reply.text


async def test_an_expired_hint_still_says_who_is_leaving(server: Server, own: RelyingParty, browser: Browser) -> None:
    hint = (await own.sign_in(browser))["id_token"]
    server.clock.advance(5000)
    assert what(await browser.get(url(own, id_token_hint=hint))) == "signed out"


async def test_a_pairwise_hint_is_the_same_person(server: Server, browser: Browser) -> None:
    pairwise = RelyingParty(server, "pairwise")
    hint = (await pairwise.sign_in(browser))["id_token"]
    assert what(await browser.get(url(pairwise, id_token_hint=hint))) == "signed out"
    assert not await is_signed_in(pairwise, browser)


async def test_a_hint_from_before_signing_in_again_is_the_same_person(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    hint = (await own.sign_in(browser))["id_token"]
    server.clock.advance(1)
    await browser.sign_in(await browser.get(own.url(prompt="login")))
    assert what(await browser.get(url(own, id_token_hint=hint))) == "signed out"
    assert not await is_signed_in(own, browser)


@pytest.mark.parametrize("name", ["id_token_hint", "post_logout_redirect_uri", "state", "client_id"])
async def test_repeated_parameters_are_an_error_page(own: RelyingParty, browser: Browser, name: str) -> None:
    hint = (await own.sign_in(browser))["id_token"]
    start = url(own, id_token_hint=hint, client_id="own", post_logout_redirect_uri=SIGNED_OUT, state="a")
    assert what(await browser.get(f"{start}&{name}=again")) == "error"
    assert await is_signed_in(own, browser)


# The question -------------------------------------------------------------------------------------------------------


async def test_saying_yes_ends_the_session_and_goes_where_was_asked(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    page = await browser.get(url(own, client_id="own", post_logout_redirect_uri=SIGNED_OUT, state="xyz"))
    assert "Taro" in page.text
    assert "Order desk" in page.text
    reply = await browser.submit(page, "logout-form", "logout-approve")
    assert reply.location == SIGNED_OUT + "?state=xyz"
    assert not await is_signed_in(own, browser)


async def test_saying_yes_without_a_redirect_is_the_signed_out_page(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    page = await browser.get("/acme/end_session")
    assert what(await browser.submit(page, "logout-form", "logout-approve")) == "signed out"
    assert not await is_signed_in(own, browser)


async def test_saying_no_keeps_the_session(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    page = await browser.get(url(own, client_id="own", post_logout_redirect_uri=SIGNED_OUT))
    reply = await browser.submit(page, "logout-form", "logout-deny")
    assert what(reply) == "still signed in"
    assert await is_signed_in(own, browser)


async def test_the_question_is_answered_by_its_own_page_only(
    server: Server, own: RelyingParty, browser: Browser
) -> None:
    await own.sign_in(browser)
    page = await browser.get("/acme/end_session")
    form = Page(page).forms["logout-form"]
    stranger = Browser(server)
    await own.sign_in(stranger, "hanako")
    foreign = Page(await stranger.get("/acme/end_session")).forms["logout-form"].fields
    for fields in ({}, {"csrf_token": "x" * 43}, foreign):
        for decision in ("approve", "deny"):
            reply = await browser.post(form.action, {**fields, "decision": decision})
            assert what(reply) == "question"
    await browser.post(form.action, {**form.fields, "decision": "approve"}, cross_site=True)
    assert await is_signed_in(own, browser)


async def test_the_form_cannot_be_pointed_at_an_unregistered_uri(own: RelyingParty, browser: Browser) -> None:
    await own.sign_in(browser)
    form = Page(await browser.get("/acme/end_session")).forms["logout-form"]
    target = "/acme/sign-out?client_id=own&post_logout_redirect_uri=https://attacker.example/"
    assert what(await browser.post(target, {**form.fields, "decision": "approve"})) == "error"
    assert await is_signed_in(own, browser)


# What ends with the session -----------------------------------------------------------------------------------------


async def test_logout_ends_what_was_granted_in_the_session_except_offline_access(
    server: Server, own: RelyingParty, web: RelyingParty, browser: Browser
) -> None:
    online, offline = await own.sign_in(browser), await own.sign_in(browser, scope="openid offline_access")
    elsewhere = await own.sign_in(Browser(server))
    unused = own.answer(await browser.get(own.url()))["code"]
    await browser.get(url(own, id_token_hint=online["id_token"]))
    assert not (await own.introspect(online["access_token"]))["active"]
    assert not (await own.introspect(online["refresh_token"]))["active"]
    assert (await own.refresh(online["refresh_token"])).json["error"] == "invalid_grant"
    assert (await own.userinfo(online["access_token"])).status == 401
    assert (await own.redeem(unused)).json["error"] == "invalid_grant"
    assert (await own.introspect(offline["access_token"]))["active"]
    assert (await own.refresh(offline["refresh_token"])).status == 200
    assert (await own.introspect(elsewhere["access_token"]))["active"]
    [ended] = await server.audit(type_prefix="session.ended")
    assert (ended.actor, ended.client_id) == (str(own.tenant.users["taro"]), "own")


async def test_logout_at_one_tenant_leaves_the_other_alone(server: Server, own: RelyingParty, browser: Browser) -> None:
    there = RelyingParty(server, "own", "other")
    hint = (await own.sign_in(browser))["id_token"]
    await there.sign_in(browser)
    await browser.get(url(own, id_token_hint=hint))
    assert not await is_signed_in(own, browser)
    assert await is_signed_in(there, browser)
