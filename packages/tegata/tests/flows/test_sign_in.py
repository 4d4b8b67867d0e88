"""Signing in: throttling, sessions, what a wrong password gives away, and the protection of the form."""

from __future__ import annotations

import re

import pytest

from tegata.flows.passwords import PasswordPool
from tegata.protocol.errors import temporarily_unavailable
from tegata.testing.relying_party import Browser, Page, RelyingParty, claims_of
from tegata.testing.server import DISABLED_PASSWORD, PASSWORD, Reply, Server, quick_hash, serving

pytestmark = pytest.mark.anyio

SESSION = "__Host-tegata-session-acme"


async def guess(
    server: Server, *, username: str = "taro", password: str = "wrong", address: str = "192.0.2.66"
) -> Reply:
    """Try one password in a fresh browser."""
    browser = Browser(server, address=address)
    page = await browser.get(RelyingParty(server, "own").url())
    return await browser.sign_in(page, username, password)


def error_of(reply: Reply) -> str | None:
    """Return what the sign-in page complains about, or None if it is not there (any more)."""
    return Page(reply).texts.get("login-error") if reply.status == 200 else None


def without_tokens(reply: Reply) -> str:
    """Return the page without what differs in every page."""
    return re.sub(r'(interaction=|name="csrf_token" value=")[\w-]+', r"\1", reply.text)


# What a refusal gives away ------------------------------------------------------------------------------------------


async def test_every_kind_of_wrong_credentials_gives_the_same_answer_for_the_same_work(server: Server) -> None:
    pages = []
    for username, password in (
        ("taro", "wrong"),
        ("nobody", "wrong"),
        ("closed", "wrong"),
        ("closed", DISABLED_PASSWORD),
        ("taro", PASSWORD + " "),
    ):
        reply = await guess(server, username=username, password=password)
        pages.append(without_tokens(reply).replace(f'value="{username}"', ""))
        assert not [line for line in reply.all("set-cookie") if "session" in line]
    assert len(set(pages)) == 1
    assert len(server.passwords.checked) == 5  # an absent account costs a check as well
    assert [e.reason for e in await server.audit() if e.type == "sign_in.failed"] == [
        "wrong_password",
        "unknown_user",
        "wrong_password",
        "user_disabled",
        "wrong_password",
    ]


async def test_an_account_without_a_password_cannot_be_signed_in_to(server: Server) -> None:
    await server.put_user("jiro")
    for password in ("", "None", "wrong"):
        assert error_of(await guess(server, username="jiro", password=password)) is not None


async def test_missing_credentials_are_asked_for_without_a_check(server: Server) -> None:
    for username, password in (("", "x"), ("taro", ""), ("", "")):
        assert error_of(await guess(server, username=username, password=password)) is not None
    assert not server.passwords.checked


async def test_username_in_capitals_full_width_or_by_verified_address_finds_the_account(server: Server) -> None:
    for username in ("TARO", "ｔａｒｏ", "  taro ", "taro@example.com", "Taro@Example.com"):
        assert (await guess(server, username=username, password=PASSWORD)).status == 303


async def test_an_unverified_address_is_no_username(server: Server) -> None:
    await server.put_user("mallory", claims={"email": "taro@example.com", "email_verified": False})
    await server.put_user("eve", claims={"email": "eve@example.com", "email_verified": False})
    assert (await guess(server, username="taro@example.com", password=PASSWORD)).status == 303
    assert error_of(await guess(server, username="eve@example.com", password=PASSWORD)) is not None


async def test_the_real_password_check_is_argon2id() -> None:
    async with serving(quick_passwords=False) as server:
        password_hash = await server.services.passwords.hash("kept in argon2id")
        assert password_hash.startswith("$argon2id$")
        await server.put_user("jiro", password_hash=password_hash)
        assert (await guess(server, username="jiro", password="kept in argon2id")).status == 303
        for username in ("jiro", "nobody"):
            assert error_of(await guess(server, username=username, password="wrong")) is not None


async def test_a_user_of_another_tenant_is_unknown_here(server: Server) -> None:
    await server.put_user("only-there", "other", password_hash=quick_hash(PASSWORD))
    assert error_of(await guess(server, username="only-there", password=PASSWORD)) is not None
    assert "sign_in.failed unknown_user" in await server.reasons()
    assert not await server.reasons("other")


# Sessions -----------------------------------------------------------------------------------------------------------


async def test_a_session_planted_before_sign_in_is_not_the_one_after(server: Server) -> None:
    browser = Browser(server)
    browser.cookies[SESSION] = "planted"
    await RelyingParty(server, "own").sign_in(browser)
    assert browser.cookies[SESSION] != "planted"
    assert len(browser.cookies[SESSION]) == 43


async def test_each_sign_in_renews_the_secret_and_ends_the_one_before(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    await own.sign_in(browser)
    before = browser.cookies[SESSION]
    server.clock.advance(1)
    await browser.sign_in(await browser.get(own.url(prompt="login")))
    assert browser.cookies[SESSION] != before
    stolen = Browser(server)
    stolen.cookies[SESSION] = before
    assert own.answer(await stolen.get(own.url(prompt="none")))["error"] == "login_required"


async def test_signing_in_again_as_the_same_user_keeps_the_grants(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    tokens = await own.sign_in(browser)
    server.clock.advance(1)
    await browser.sign_in(await browser.get(own.url(prompt="login")))
    assert (await own.introspect(tokens["access_token"]))["active"]
    refreshed = (await own.refresh(tokens["refresh_token"])).json
    current = own.answer(await browser.get(own.url(prompt="none")))
    sid = claims_of((await own.redeem(current["code"])).json["id_token"])["sid"]
    assert claims_of(refreshed["id_token"])["sid"] == sid


async def test_another_user_in_the_same_browser_ends_the_session_before_and_its_tokens(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    tokens = await own.sign_in(browser, "taro")
    before = browser.cookies[SESSION]
    server.clock.advance(1)
    await browser.sign_in(await browser.get(own.url(prompt="select_account")), "hanako")
    assert not (await own.introspect(tokens["access_token"]))["active"]
    assert (await own.refresh(tokens["refresh_token"])).json["error"] == "invalid_grant"
    stolen = Browser(server)
    stolen.cookies[SESSION] = before
    assert own.answer(await stolen.get(own.url(prompt="none")))["error"] == "login_required"


async def test_a_password_of_outdated_parameters_is_hashed_anew(server: Server) -> None:
    await server.put_user("jiro", password_hash=quick_hash("old but good", outdated=True))
    tenant_id = server.tenants["acme"].tenant_id
    assert error_of(await guess(server, username="jiro", password="wrong")) is not None
    kept = await server.storage.find_password(tenant_id, "jiro")
    assert kept is not None
    assert kept.password_hash == quick_hash("old but good", outdated=True)
    assert (await guess(server, username="jiro", password="old but good")).status == 303
    kept = await server.storage.find_password(tenant_id, "jiro")
    assert kept is not None
    assert kept.password_hash == quick_hash("old but good")


async def test_a_good_password_counts_although_there_is_no_room_to_hash_it_anew(server: Server) -> None:
    class Busy(PasswordPool):
        async def verify(self, password_hash: str | None, password: str) -> bool:
            return True

        async def hash(self, password: str) -> str:
            raise temporarily_unavailable("password_queue_full")

    server.app.passwords = Busy()
    await server.app.stop()
    await server.app.start()
    await server.put_user("jiro", password_hash=quick_hash("old but good", outdated=True))
    assert (await guess(server, username="jiro", password="old but good")).status == 303


# The form's protection ----------------------------------------------------------------------------------------------


async def attempt(browser: Browser, page: Reply, csrf_token: str | None) -> Reply:
    """Send good credentials with a token of our choice."""
    fields = {"username": "taro", "password": PASSWORD}
    if csrf_token is not None:
        fields["csrf_token"] = csrf_token
    return await browser.post(Page(page).forms["login-form"].action, fields)


async def test_without_the_right_token_nobody_is_signed_in_and_nothing_is_counted(server: Server) -> None:
    own, browser, other = RelyingParty(server, "own"), Browser(server), Browser(server)
    page, elsewhere, again = await browser.get(own.url()), await other.get(own.url()), await browser.get(own.url())
    tokens = {
        "missing": None,
        "made up": "x" * 43,
        "not ASCII": "日本",
        "another browser's": Page(elsewhere).forms["login-form"].fields["csrf_token"],
        "another request's": Page(again).forms["login-form"].fields["csrf_token"],
    }
    for name, token in tokens.items():
        reply = await attempt(browser, page, token)
        assert reply.status == 200, name
        assert error_of(reply) is not None, name
        assert SESSION not in browser.cookies, name
    assert not server.passwords.checked
    assert (await attempt(browser, page, Page(page).forms["login-form"].fields["csrf_token"])).status == 303


async def test_a_form_from_a_browser_without_cookies_is_shown_again(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    page = await browser.get(own.url())
    browser.cookies.clear()
    reply = await browser.sign_in(page)
    assert error_of(reply) is not None
    assert (await browser.sign_in(reply)).status == 303  # the page that came back works


async def test_a_form_posted_by_another_site_signs_nobody_in(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    page = await browser.get(own.url())
    form = Page(page).forms["login-form"]
    fields = {**form.fields, "username": "taro", "password": PASSWORD}
    reply = await browser.post(form.action, fields, cross_site=True)
    assert error_of(reply) is not None
    assert SESSION not in browser.cookies


async def test_cancelling_needs_the_token_too(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    page = await browser.get(own.url())
    reply = await browser.post(page.url, {"decision": "cancel"})
    assert reply.status == 200
    assert (await browser.sign_in(page)).status == 303


async def test_going_on_with_the_account_at_hand_needs_the_token_too(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    await own.sign_in(browser)
    server.clock.advance(1)
    page = await browser.get(own.url(prompt="select_account"))
    assert (await browser.post(page.url, {"decision": "continue"})).status == 200
    reply = await browser.submit(page, "select-form", "select-continue")
    assert "code" in own.answer(reply)


async def test_prompt_login_is_not_answered_by_going_on(server: Server) -> None:
    own, browser = RelyingParty(server, "own"), Browser(server)
    await own.sign_in(browser)
    server.clock.advance(1)
    page = await browser.get(own.url(prompt="login"))
    token = Page(page).forms["login-form"].fields["csrf_token"]
    reply = await browser.post(page.url, {"decision": "continue", "csrf_token": token})
    assert reply.status == 200
    assert error_of(reply) is not None
