"""Forms sent by somebody else: another site, another browser, another time (RFC 9700 §4.7, RFC 6749 §10.12)."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from .contract import User
from .fixtures import NewBrowser
from .pages import Form, Page
from .relying_party import Browser, Landing, RelyingParty


def sign_in_form(web: RelyingParty, browser: Browser) -> Form:
    shown = browser.visit(web.attempt().url)
    assert isinstance(shown, Page)
    form = shown.form_with(button="login-submit")
    assert form is not None
    return form


def filled(form: Form, user: User) -> dict[str, str]:
    return form.data(button="login-submit", username=user.username, password=user.password)


def nobody_is_signed_in(web: RelyingParty, browser: Browser) -> bool:
    answer = browser.visit(web.attempt(prompt="none").url)
    return isinstance(answer, Landing) and answer.params.get("error") == "login_required"


@pytest.mark.parametrize("token", [None, "", "wrong", "A" * 43])
def test_sign_in_without_its_csrf_token_signs_nobody_in(
    web: RelyingParty, browser: Browser, user: User, token: str | None
) -> None:
    form = sign_in_form(web, browser)
    data = filled(form, user)
    data.pop("csrf_token")
    if token is not None:
        data["csrf_token"] = token
    assert isinstance(browser.visit(form.action, data=data), Page)
    assert nobody_is_signed_in(web, browser)


def test_form_of_one_browser_is_worthless_in_another(web: RelyingParty, new_browser: NewBrowser, user: User) -> None:
    """Login CSRF: the attacker's own form, sent by the victim's browser."""
    attacker, victim = new_browser(), new_browser()
    form = sign_in_form(web, attacker)
    assert isinstance(victim.visit(form.action, data=filled(form, user)), Page)
    assert nobody_is_signed_in(web, victim)


def test_csrf_token_of_another_browser_does_not_fit(web: RelyingParty, new_browser: NewBrowser, user: User) -> None:
    attacker, victim = new_browser(), new_browser()
    stolen = filled(sign_in_form(web, attacker), user)["csrf_token"]
    form = sign_in_form(web, victim)
    shown = victim.visit(form.action, data=filled(form, user) | {"csrf_token": stolen})
    assert isinstance(shown, Page)
    assert nobody_is_signed_in(web, victim)


@pytest.mark.parametrize("decision", ["approve", ""])
def test_consent_needs_its_token_and_its_person(
    web: RelyingParty, new_browser: NewBrowser, user: User, decision: str
) -> None:
    browser, stranger = new_browser(), new_browser()
    shown = browser.visit(web.attempt(prompt="consent").url)
    assert isinstance(shown, Page)
    shown = browser.press(shown, "login-submit", username=user.username, password=user.password)
    assert isinstance(shown, Page)
    form = shown.form_with(button="consent-approve")
    assert form is not None
    good = form.data(button="consent-approve")
    without = {name: value for name, value in good.items() if name != "csrf_token"}
    assert isinstance(browser.visit(form.action, data=without | {"decision": decision}), Page)
    assert isinstance(stranger.visit(form.action, data=good), Page)
    landing = browser.visit(form.action, data=good)
    assert isinstance(landing, Landing)
    assert landing.code


def test_consent_cannot_be_given_twice_for_one_request(web: RelyingParty, browser: Browser, user: User) -> None:
    """One request, one code."""
    shown = browser.visit(web.attempt(prompt="consent").url)
    assert isinstance(shown, Page)
    shown = browser.press(shown, "login-submit", username=user.username, password=user.password)
    assert isinstance(shown, Page)
    first = browser.press(shown, "consent-approve")
    assert isinstance(first, Landing)
    again = browser.press(shown, "consent-approve")
    assert not isinstance(again, Landing) or "code" not in again.params


def test_consent_cannot_be_smuggled_into_the_request(web: RelyingParty, browser: Browser) -> None:
    """Parameters of the forms mean nothing at the authorization endpoint."""
    attempt = web.attempt(decision="approve", csrf_token="x", username="yamada", password="x")
    assert isinstance(browser.visit(attempt.url), Page)


def test_address_of_another_persons_request_shows_nothing(
    web: RelyingParty, new_browser: NewBrowser, user: User
) -> None:
    """A page's address, seen over a shoulder, is no key."""
    browser, stranger = new_browser(), new_browser()
    shown = browser.visit(web.attempt(prompt="consent").url)
    assert isinstance(shown, Page)
    shown = browser.press(shown, "login-submit", username=user.username, password=user.password)
    assert isinstance(shown, Page)
    seen = stranger.visit(shown.url)
    assert isinstance(seen, Page)
    assert seen.form_with(button="consent-approve") is None


def test_logout_needs_its_token(web: RelyingParty, browser: Browser, user: User) -> None:
    web.tokens(browser, user)
    shown = browser.visit(web.endpoint("end_session"))
    assert isinstance(shown, Page)
    form = shown.form_with(button="logout-approve")
    assert form is not None
    data = form.data(button="logout-approve")
    data.pop("csrf_token")
    browser.visit(form.action, data=data)
    assert not nobody_is_signed_in(web, browser)


def test_session_cookie_is_new_after_sign_in(web: RelyingParty, browser: Browser, user: User) -> None:
    """No fixation: whatever the browser had before does not become a session."""
    form = sign_in_form(web, browser)
    before = {cookie.value for cookie in browser.http.cookies.jar}
    browser.carry_on(browser.visit(form.action, data=filled(form, user)), user)
    assert {cookie.value for cookie in browser.http.cookies.jar} - before


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
@pytest.mark.parametrize(
    "name", ["next", "return_to", "redirect", "continue_uri", "post_logout_redirect_uri", "action"]
)
def test_pages_redirect_to_no_address_that_a_stranger_wrote(
    web: RelyingParty, browser: Browser, user: User, name: str, target: str
) -> None:
    """RFC 9700 §4.11: no open redirector, at sign-in or at the end of a session."""
    form = sign_in_form(web, browser)
    landing = browser.carry_on(browser.visit(form.action, data=filled(form, user) | {name: target}), user)
    assert urlsplit(landing.url).netloc == "127.0.0.1:9000"
    shown = browser.visit(web.endpoint("end_session"), data={name: target})
    assert isinstance(shown, Page)
    assert "evil.example" not in " ".join(shown.links)
