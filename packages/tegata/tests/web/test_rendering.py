"""What pages promise: stable ids, both languages, no way in for hostile values."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest

from tegata.web.assets import Assets
from tegata.web.locales import LOCALES, load_catalogues
from tegata.web.pages import (
    ErrorPage,
    FormPostPage,
    Page,
    ScopeLine,
    SignedOutPage,
    SignInPage,
)
from tegata.web.rendering import ERROR_TITLES, SIGN_IN_ERRORS, Renderer, build_page_headers

from .samples import CONSENT, ERROR, FORM_POST, LOGOUT, PLAYGROUND, SAMPLES, SIGN_IN, SIGNED_OUT, Document

RENDERER = Renderer(Assets(), load_catalogues())


def render(page: Page, locale: str = "en") -> Document:
    return Document(RENDERER.render(page, locale))


def test_every_kind_of_page_has_a_sample_here() -> None:
    assert {type(page) for page in SAMPLES} == set(get_args(Page))


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("page", SAMPLES, ids=lambda page: type(page).__name__)
def test_pages_parse_in_every_language_without_inline_code(page: Page, locale: str) -> None:
    html = RENDERER.render(page, locale)
    document = Document(html)
    assert html.startswith("<!doctype html>")
    assert document.elements[0] == ("html", {"lang": locale, "dir": "ltr"})
    for tag, attributes in document.elements:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("page", SAMPLES, ids=lambda page: type(page).__name__)
def test_scripts_are_on_pages_whose_policy_allows_them_only(page: Page) -> None:
    scripts = [tag for tag, _ in render(page).elements if tag == "script"]
    assert bool(scripts) == ("script-src" in build_page_headers(page)["content-security-policy"])


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param(
            SIGN_IN,
            {
                "username": ("input", "username", None),
                "password": ("input", "password", None),
                "login-submit": ("button", None, None),
                "login-cancel": ("button", "decision", "cancel"),
                "select-continue": ("button", "decision", "continue"),
                "login-error": ("p", None, None),
            },
            id="sign-in",
        ),
        pytest.param(
            CONSENT,
            {
                "consent-approve": ("button", "decision", "approve"),
                "consent-deny": ("button", "decision", "deny"),
                "client-policy": ("a", None, None),
                "client-tos": ("a", None, None),
            },
            id="consent",
        ),
        pytest.param(
            LOGOUT,
            {"logout-approve": ("button", "decision", "approve"), "logout-deny": ("button", "decision", "deny")},
            id="logout",
        ),
        pytest.param(
            ERROR,
            {
                "error-code": ("code", None, None),
                "error-description": ("dd", None, None),
                "error-request-id": ("code", None, None),
            },
            id="error",
        ),
        pytest.param(
            SIGNED_OUT, {"signed-out": ("h1", None, None), "signed-out-continue": ("a", None, None)}, id="signed out"
        ),
        pytest.param(
            FORM_POST,
            {"form-post": ("form", None, None), "form-post-continue": ("button", None, None)},
            id="form post",
        ),
        pytest.param(
            PLAYGROUND,
            {
                "playground-start": ("button", None, None),
                "playground-id-token": ("pre", None, None),
                "playground-access-token": ("pre", None, None),
                "playground-userinfo": ("pre", None, None),
                "playground-api-answer": ("pre", None, None),
                "playground-api-get": ("button", None, None),
                "playground-api-post": ("button", None, None),
                "playground-error": ("p", None, None),
                "playground-refresh": ("button", None, None),
                "playground-sign-out": ("button", None, None),
            },
            id="playground",
        ),
    ],
)
@pytest.mark.parametrize("locale", LOCALES)
def test_ids_and_names_are_an_interface(
    page: Page, expected: dict[str, tuple[str, str | None, str | None]], locale: str
) -> None:
    """Automated browsers find elements by these; a change breaks them (OpenID conformance suite, customers' tests)."""
    document = render(page, locale)
    for identifier, (tag, name, value) in expected.items():
        found_tag, attributes = document.by_id(identifier)
        assert (found_tag, attributes.get("name"), attributes.get("value") if name == "decision" else None) == (
            tag,
            name,
            value,
        )


@pytest.mark.parametrize("page", [SIGN_IN, CONSENT, LOGOUT], ids=lambda page: type(page).__name__)
def test_every_form_posts_to_this_server_with_the_csrf_token(page: Page) -> None:
    document = render(page)
    forms = [attributes for tag, attributes in document.elements if tag == "form"]
    tokens = [attributes for tag, attributes in document.elements if attributes.get("name") == "csrf_token"]
    assert forms
    assert len(forms) == len(tokens)
    for form in forms:
        assert form["method"] == "post"
        assert form["action"] == page.action  # type: ignore[union-attr]
    assert {(token["type"], token["value"]) for token in tokens} == {("hidden", "token")}


def test_sign_in_fields_are_labelled_for_people_and_password_managers() -> None:
    document = render(SIGN_IN)
    labels = {attributes["for"] for tag, attributes in document.elements if tag == "label"}
    assert labels == {"username", "password"}
    username, password = document.by_id("username")[1], document.by_id("password")[1]
    assert (username["autocomplete"], password["autocomplete"]) == ("username", "current-password")
    assert password["type"] == "password"
    assert "value" not in password
    assert username["aria-describedby"] == "login-error"
    assert document.by_id("login-error")[1]["role"] == "alert"
    assert "formnovalidate" in document.by_id("login-cancel")[1]


@pytest.mark.parametrize(("username", "focused"), [("", "username"), ("yamada", "password")])
def test_the_first_empty_field_has_the_focus(username: str, focused: str) -> None:
    page = SignInPage("/demo/sign-in", "token", "Demo", username=username)
    document = render(page)
    assert [attributes["id"] for _, attributes in document.elements if "autofocus" in attributes] == [focused]


@pytest.mark.parametrize("error", [key for key in SIGN_IN_ERRORS if key is not None] + ["never_heard_of"])
@pytest.mark.parametrize("locale", LOCALES)
def test_every_sign_in_error_has_words(error: str, locale: str) -> None:
    assert render(dataclasses.replace(SIGN_IN, error=error), locale).by_id("login-error")


@pytest.mark.parametrize("error", [key for key in ERROR_TITLES if key is not None] + ["never_heard_of"])
def test_the_error_page_names_code_and_description_in_every_language(error: str) -> None:
    for locale in LOCALES:
        texts = render(ErrorPage(error, "The redirect_uri is not registered."), locale).texts
        assert error in texts
        assert "The redirect_uri is not registered." in texts


def test_an_unknown_language_is_answered_in_english() -> None:
    assert render(LOGOUT, "tlh").elements[0][1]["lang"] == "en"


def test_claims_that_say_the_same_are_listed_once() -> None:
    text = "".join(render(CONSENT).texts)
    assert text.count("see your name") == 1
    assert "badge" in text


def test_a_tenants_own_words_for_a_scope_win_over_ours() -> None:
    page = dataclasses.replace(CONSENT, scopes=(ScopeLine("read", "See the recipes"),))
    texts = render(page).texts
    assert "See the recipes" in texts
    assert "read" in texts
    assert "read your data" not in texts


def test_form_post_carries_every_field_exactly_in_order() -> None:
    document = render(FORM_POST)
    hidden = [attributes for tag, attributes in document.elements if tag == "input"]
    assert tuple((field["name"], field["value"]) for field in hidden) == FORM_POST.fields
    assert document.by_id("form-post")[1]["action"] == FORM_POST.action


def test_form_post_keeps_its_origin_and_may_post_to_its_target() -> None:
    headers = build_page_headers(FORM_POST)
    assert headers["referrer-policy"] == "strict-origin"
    assert "form-action 'self' https:" in headers["content-security-policy"]


@pytest.mark.parametrize("page", SAMPLES, ids=lambda page: type(page).__name__)
def test_no_page_is_cached_framed_or_sniffed(page: Page) -> None:
    headers = build_page_headers(page)
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("action", ["javascript:alert(1)", "//evil.example/", "http://evil.example/", "data:,", ""])
def test_a_form_that_would_go_astray_is_not_rendered(action: str) -> None:
    for page in (SIGN_IN, CONSENT, LOGOUT, FORM_POST):
        with pytest.raises(ValueError, match="address"):
            RENDERER.render(dataclasses.replace(page, action=action), "en")


@pytest.mark.parametrize("field", ["client_logo_uri", "client_policy_uri", "client_tos_uri"])
def test_an_unsafe_address_of_a_client_is_left_out(field: str) -> None:
    for page in (SIGN_IN, CONSENT):
        for uri in ("javascript:alert(1)", "http://evil.example/", "data:image/png,x"):
            changed: dict[str, Any] = {field: uri}
            html = RENDERER.render(dataclasses.replace(page, **changed), "en")
            assert uri not in html


def test_choosing_to_stay_signed_in_is_confirmed() -> None:
    document = render(SignedOutPage("Demo", signed_out=False))
    assert document.by_id("still-signed-in")
    assert "signed-out" not in {attributes.get("id") for _, attributes in document.elements}


def test_form_post_to_a_private_scheme_is_rendered() -> None:
    page = FormPostPage("com.example.app:/callback", (("code", "abc"),))
    assert render(page).by_id("form-post")[1]["action"] == "com.example.app:/callback"
    assert "form-action 'self' com.example.app:" in build_page_headers(page)["content-security-policy"]


def test_a_way_back_that_is_not_a_web_address_is_left_out() -> None:
    html = RENDERER.render(SignedOutPage("Demo", "javascript:alert(1)"), "en")
    assert "javascript" not in html
