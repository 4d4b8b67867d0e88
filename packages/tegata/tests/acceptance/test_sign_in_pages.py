"""The pages in Chromium: every test also fails on a console error, a policy violation or a 5xx."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import pytest

from .chromium import DESKTOP, PHONE, NewVisitor, Visitor
from .contract import User
from .relying_party import RelyingParty, success

pytestmark = pytest.mark.browser

SCREENS = pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
SCRIPTS = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])


def path_of(visitor: Visitor) -> str:
    return urlsplit(visitor.page.url).path


@SCREENS
@SCRIPTS
def test_signs_in_and_consents(
    new_visitor: NewVisitor, web: RelyingParty, user: User, screen: dict[str, int], scripts: bool
) -> None:
    visitor = new_visitor(viewport=screen, java_script_enabled=scripts)
    attempt = web.attempt(prompt="login consent", scope="openid profile email read write")
    visitor.page.goto(attempt.url)
    assert path_of(visitor).startswith("/demo/sign-in")
    assert not scripts or visitor.overflow() <= 0
    visitor.sign_in(user)
    visitor.page.wait_for_selector("#consent-approve")
    assert path_of(visitor).startswith("/demo/consent")
    assert not scripts or visitor.overflow() <= 0
    visitor.page.click("#consent-approve")
    got = visitor.landed()
    assert got["state"] == attempt.state
    form = {"grant_type": "authorization_code", "code": got["code"], "redirect_uri": attempt.redirect_uri}
    success(web.token(**form, code_verifier=attempt.verifier or ""))


def test_denying_goes_back_to_the_client(new_visitor: NewVisitor, web: RelyingParty, user: User) -> None:
    visitor = new_visitor()
    visitor.page.goto(web.attempt(prompt="consent").url)
    visitor.sign_in(user)
    visitor.page.click("#consent-deny")
    assert visitor.landed()["error"] == "access_denied"


@SCREENS
def test_wrong_password_is_said_and_can_be_corrected(
    new_visitor: NewVisitor, web: RelyingParty, user: User, screen: dict[str, int]
) -> None:
    visitor = new_visitor(viewport=screen)
    visitor.may_be_refused = True
    visitor.page.goto(web.attempt().url)
    visitor.sign_in(User(user.username, "not the password", ()))
    visitor.page.wait_for_selector("#login-error")
    assert visitor.page.inner_text("#login-error")
    assert visitor.page.input_value("#username") == user.username
    assert visitor.page.input_value("#password") == ""
    assert visitor.overflow() <= 0
    visitor.sign_in(user)
    visitor.consent_if_asked()
    assert visitor.landed()["code"]


def test_unknown_user_gets_the_same_answer_as_a_wrong_password(
    new_visitor: NewVisitor, web: RelyingParty, user: User
) -> None:
    """No list of users to be learned here."""
    said = []
    for name in (user.username, "nobody-of-this-name"):
        visitor = new_visitor()
        visitor.may_be_refused = True
        visitor.page.goto(web.attempt().url)
        visitor.sign_in(User(name, "not the password", ()))
        said.append(visitor.page.inner_text("#login-error"))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "case",
    [
        ("ja-JP", None, "ja"),
        ("en-GB", None, "en"),
        ("de-DE", None, "en"),
        ("en-US", "ja", "ja"),
        ("ja-JP", "en", "en"),
        ("ja-JP", "fr de", "ja"),
    ],
)
def test_language_follows_the_browser_and_the_request(
    new_visitor: NewVisitor, web: RelyingParty, user: User, case: tuple[str, str | None, str]
) -> None:
    """The browser's languages, the request's `ui_locales`, and the page's language that follows."""
    locale, ui_locales, wanted = case
    visitor = new_visitor(locale=locale)
    visitor.page.goto(web.attempt(ui_locales=ui_locales, prompt="login consent").url)
    assert visitor.page.get_attribute("html", "lang") == wanted
    japanese = "サインイン" in visitor.page.inner_text("body") or "ログイン" in visitor.page.inner_text("body")
    assert japanese == (wanted == "ja")
    visitor.sign_in(user)
    visitor.page.wait_for_selector("#consent-approve")
    assert visitor.page.get_attribute("html", "lang") == wanted


@SCRIPTS
def test_form_post_reaches_the_client(new_visitor: NewVisitor, web: RelyingParty, user: User, scripts: bool) -> None:
    """Form Post Response Mode §2: by script, or by a button."""
    visitor = new_visitor(java_script_enabled=scripts)
    attempt = web.attempt(response_mode="form_post")
    visitor.page.goto(attempt.url)
    visitor.sign_in(user)
    # With scripts the page with the button leaves by itself, perhaps while somebody looks at it.
    stays = "#consent-approve, #posted" if scripts else "#consent-approve, #form-post-continue"
    visitor.page.wait_for_selector(stays, state="attached")
    if visitor.page.query_selector("#consent-approve"):
        visitor.page.click("#consent-approve")
    if not scripts:
        visitor.page.click("#form-post-continue")
    got = visitor.landed()
    assert got["state"] == attempt.state
    assert got["code"]


@SCREENS
def test_error_page_names_the_fault(new_visitor: NewVisitor, web: RelyingParty, screen: dict[str, int]) -> None:
    visitor = new_visitor(viewport=screen)
    visitor.may_be_refused = True
    visitor.page.goto(web.attempt(redirect_uri="http://127.0.0.1:9000/" + "long" * 60).url)
    assert visitor.page.inner_text("#error-code") == "invalid_request"
    assert "redirect_uri" in visitor.page.inner_text("#error-description")
    assert visitor.overflow() <= 0


@SCRIPTS
def test_signs_out_by_the_persons_own_word(
    new_visitor: NewVisitor, web: RelyingParty, user: User, scripts: bool
) -> None:
    """RP-Initiated Logout §2: without a hint the person is asked; no means still signed in."""
    visitor = new_visitor(java_script_enabled=scripts)
    visitor.page.goto(web.attempt().url)
    visitor.sign_in(user)
    visitor.consent_if_asked()
    visitor.landed()
    visitor.page.goto(web.endpoint("end_session"))
    visitor.page.click("#logout-deny")
    visitor.page.wait_for_selector("#still-signed-in")
    visitor.page.goto(web.attempt(prompt="none").url)
    assert "code" in visitor.landed()
    visitor.page.goto(web.endpoint("end_session"))
    visitor.page.click("#logout-approve")
    visitor.page.wait_for_selector("#signed-out")
    visitor.page.goto(web.attempt(prompt="none").url)
    assert visitor.landed()["error"] == "login_required"


def test_client_sends_the_person_to_sign_out_and_gets_them_back(
    new_visitor: NewVisitor, web: RelyingParty, user: User
) -> None:
    visitor = new_visitor()
    attempt = web.attempt()
    visitor.page.goto(attempt.url)
    visitor.sign_in(user)
    visitor.consent_if_asked()
    got = visitor.landed()
    form = {"grant_type": "authorization_code", "code": got["code"], "redirect_uri": attempt.redirect_uri}
    hint = success(web.token(**form, code_verifier=attempt.verifier or ""))["id_token"]
    wanted = web.client.post_logout_redirect_uris[0]
    query = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": wanted, "state": "bye"})
    visitor.page.goto(web.endpoint("end_session") + "?" + query)
    visitor.page.wait_for_selector("#logout-approve, #posted", state="attached")
    if visitor.page.query_selector("#logout-approve"):
        visitor.page.click("#logout-approve")
    visitor.page.wait_for_selector("#posted", state="attached")
    assert visitor.page.url == wanted + "?state=bye"


def test_back_button_after_sign_in_does_no_harm(new_visitor: NewVisitor, web: RelyingParty, user: User) -> None:
    visitor = new_visitor()
    visitor.may_be_refused = True
    visitor.page.goto("about:blank")
    visitor.page.goto(web.attempt().url)
    visitor.sign_in(user)
    visitor.consent_if_asked()
    visitor.landed()
    visitor.page.go_back(wait_until="load")
    shown = visitor.page.query_selector("#error-code, #username, #posted, #consent-approve")
    assert shown is not None or visitor.page.url == "about:blank"
    if visitor.page.query_selector("#username"):
        # The old form, sent again: a page or the client, never a failure.
        with visitor.page.expect_navigation():
            visitor.sign_in(user)
    attempt = web.attempt()
    visitor.page.goto(attempt.url)
    assert visitor.landed()["state"] == attempt.state


def test_two_tabs_sign_in_at_once(new_visitor: NewVisitor, web: RelyingParty, user: User) -> None:
    """Each tab has a request of its own; the cookies are the same."""
    visitor = new_visitor()
    second = visitor.watch(visitor.context.new_page())
    first_attempt, second_attempt = web.attempt(), web.attempt()
    visitor.page.goto(first_attempt.url)
    second.goto(second_attempt.url)
    visitor.sign_in(user)
    visitor.consent_if_asked()
    visitor.sign_in(user, second)
    visitor.consent_if_asked(second)
    got = visitor.landed(), visitor.landed(second)
    assert got[0]["state"] == first_attempt.state
    assert got[1]["state"] == second_attempt.state
    for answer, attempt in zip(got, (first_attempt, second_attempt), strict=True):
        form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": attempt.redirect_uri}
        success(web.token(**form, code_verifier=attempt.verifier or ""))


def test_keyboard_is_enough(new_visitor: NewVisitor, web: RelyingParty, user: User) -> None:
    """The first field has the focus, Enter sends."""
    visitor = new_visitor()
    visitor.page.goto(web.attempt().url)
    visitor.page.wait_for_selector("#username:focus")  # autofocus comes a moment after the page
    visitor.page.keyboard.type(user.username)
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.type(user.password)
    visitor.page.keyboard.press("Enter")
    visitor.consent_if_asked()
    assert visitor.landed()["code"]


def test_every_field_and_button_has_a_name(new_visitor: NewVisitor, web: RelyingParty) -> None:
    visitor = new_visitor()
    visitor.page.goto(web.attempt().url)
    unnamed = visitor.page.evaluate(
        """() => [...document.querySelectorAll('input:not([type=hidden]), button, select')]
            .filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim())
            .map(e => e.outerHTML)"""
    )
    assert unnamed == []
    assert visitor.page.title()
    assert visitor.page.locator("h1").count() == 1
