"""OpenID Foundation plans Basic OP (`query`) and Form Post OP (`form_post`), one test for each module.

The suite sends most requests without PKCE, which needs clients of profile `oidc-legacy` (`acceptance.extra_clients`).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from urllib.parse import urlencode

import jwt
from packages.tegata.tests.acceptance.fixtures import NewBrowser
from packages.tegata.tests.acceptance.pages import Page
from packages.tegata.tests.acceptance.relying_party import Browser, Landing, RelyingParty, bearer, refusal, success

from .conformance import Op, Signed, error_page

Extra = Callable[[str], RelyingParty]
PROFILE = {"name", "family_name", "given_name", "preferred_username", "profile", "picture", "website", "gender"} | {
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
    "middle_name",
    "nickname",
}


def twice(op: Op, browser: Browser, *, first: dict[str, str] | None = None, **second: str) -> tuple[Signed, Signed]:
    """Sign in, then authorize once more in the same browser. Clears the trail in between."""
    one = op.happy(browser, **(first or {}))
    browser.trail.clear()
    return one, op.happy(browser, **second)


def same_sign_in(one: Signed, two: Signed) -> None:
    assert one.claims["sub"] == two.claims["sub"]
    assert one.claims["auth_time"] == two.claims["auth_time"]


def signed_in_again(one: Signed, two: Signed) -> None:
    assert one.claims["sub"] == two.claims["sub"]
    assert two.claims["auth_time"] > one.claims["auth_time"]
    assert abs(two.claims["auth_time"] - time.time()) < 300


def request_object(**claims: str) -> str:
    parts = [json.dumps({"alg": "none"}), json.dumps(claims)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."


def told(op: Op, signed: Signed) -> dict[str, object]:
    return success(op.party.userinfo(signed.tokens["access_token"]))


def test_oidcc_server(op: Op, browser: Browser) -> None:
    op.happy(browser)
    assert "sign-in" in browser.trail


def test_oidcc_response_type_missing(op: Op, browser: Browser) -> None:
    """OIDC Core §3.1.2.1: an error at the client or a page; the suite takes both."""
    attempt = op.attempt(response_type=None)
    shown = browser.visit(attempt.url)
    if isinstance(shown, Landing):
        assert shown.params["error"] in {"invalid_request", "unsupported_response_type"}
        assert shown.params["state"] == attempt.state
    else:
        error_page(shown, "invalid_request", "response_type")


def test_oidcc_idtoken_signature(op: Op, browser: Browser) -> None:
    """OIDC Registration §2: without another choice of the client it is RS256; `kid` names the key."""
    header = jwt.get_unverified_header(op.happy(browser).tokens["id_token"])
    assert header["alg"] == "RS256"
    assert header["kid"]


def test_oidcc_idtoken_unsigned(op: Op, browser: Browser) -> None:
    """Skipped by the suite unless `none` is advertised; Tegata never does, and never leaves a token unsigned."""
    assert "none" not in op.party.metadata["id_token_signing_alg_values_supported"]
    assert op.happy(browser).tokens["id_token"].rpartition(".")[2]


def test_oidcc_userinfo_get(op: Op, browser: Browser) -> None:
    signed = op.happy(browser)
    answer = op.party.userinfo(signed.tokens["access_token"])
    assert answer.headers["content-type"].startswith("application/json")
    assert success(answer)["sub"] == signed.claims["sub"]


def test_oidcc_userinfo_post_header(op: Op, browser: Browser) -> None:
    signed = op.happy(browser)
    answer = op.party.http.post(op.party.endpoint("userinfo"), headers=bearer(signed.tokens["access_token"]))
    assert success(answer)["sub"] == signed.claims["sub"]


def test_oidcc_userinfo_post_body(op: Op, browser: Browser) -> None:
    """RFC 6750 §2.2."""
    signed = op.happy(browser)
    body = {"access_token": signed.tokens["access_token"]}
    assert success(op.party.http.post(op.party.endpoint("userinfo"), data=body))["sub"] == signed.claims["sub"]


def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(op: Op, browser: Browser) -> None:
    assert "nonce" not in op.happy(browser, nonce=False).claims


def test_oidcc_scope_profile(op: Op, browser: Browser) -> None:
    """OIDC Core §5.4: all claims of the scope, for the user who owns them all."""
    assert told(op, op.happy(browser, scope="openid profile")).keys() >= PROFILE


def test_oidcc_scope_email(op: Op, browser: Browser) -> None:
    found = told(op, op.happy(browser, scope="openid email"))
    assert isinstance(found["email"], str)
    assert isinstance(found["email_verified"], bool)


def test_oidcc_scope_address(op: Op, browser: Browser) -> None:
    address = told(op, op.happy(browser, scope="openid address"))["address"]
    assert isinstance(address, dict)
    assert address


def test_oidcc_scope_phone(op: Op, browser: Browser) -> None:
    found = told(op, op.happy(browser, scope="openid phone"))
    assert isinstance(found["phone_number"], str)
    assert isinstance(found["phone_number_verified"], bool)


def test_oidcc_scope_all(op: Op, browser: Browser) -> None:
    found = told(op, op.happy(browser, scope="openid profile email address phone"))
    assert found.keys() >= PROFILE | {"email", "address", "phone_number"}


def test_oidcc_alternate_happy_flow(op: Op, browser: Browser) -> None:
    """RFC 6749 §3.3: neither the order of scopes nor that of parameters means anything."""
    attempt = op.attempt(scope="email openid")
    start = op.party.endpoint("authorization") + "?" + urlencode(list(reversed(attempt.params.items())))
    signed = op.finish(attempt, browser.sign_in(start, op.user))
    assert told(op, signed)["email"]


def test_oidcc_display_page(op: Op, browser: Browser) -> None:
    op.happy(browser, display="page")


def test_oidcc_display_popup(op: Op, browser: Browser) -> None:
    op.happy(browser, display="popup")


def test_oidcc_prompt_login(op: Op, browser: Browser) -> None:
    """OIDC Core §3.1.2.1: asked again, and the later sign-in is the one that is told."""
    one = op.happy(browser)
    browser.trail.clear()
    time.sleep(1.1)  # auth_time counts seconds
    two = op.happy(browser, prompt="login")
    assert browser.trail[:1] == ["sign-in"]
    signed_in_again(one, two)


def test_oidcc_prompt_none_not_logged_in(op: Op, browser: Browser) -> None:
    op.refused(browser, "login_required", prompt="none")


def test_oidcc_prompt_none_logged_in(op: Op, browser: Browser) -> None:
    same_sign_in(*twice(op, browser, prompt="none"))
    assert browser.trail == []


def test_oidcc_max_age_1(op: Op, browser: Browser) -> None:
    one = op.happy(browser)
    browser.trail.clear()
    time.sleep(2.1)
    two = op.happy(browser, max_age="1")
    assert browser.trail[:1] == ["sign-in"]
    signed_in_again(one, two)


def test_oidcc_max_age_10000(op: Op, browser: Browser) -> None:
    same_sign_in(*twice(op, browser, first={"max_age": "15000"}, max_age="10000"))
    assert "sign-in" not in browser.trail


def test_oidcc_ensure_request_with_unknown_parameter_succeeds(op: Op, browser: Browser) -> None:
    op.happy(browser, extra="foobar")


def test_oidcc_id_token_hint(op: Op, browser: Browser) -> None:
    one = op.happy(browser)
    browser.trail.clear()
    same_sign_in(one, op.happy(browser, prompt="none", id_token_hint=one.tokens["id_token"]))
    assert browser.trail == []


def test_oidcc_login_hint(op: Op, browser: Browser) -> None:
    attempt = op.attempt(login_hint="buffy@example.org")
    shown = browser.visit(attempt.url)
    assert isinstance(shown, Page)
    form = shown.form_with(field_name="username")
    assert form is not None
    assert form.data()["username"] == "buffy@example.org"
    op.finish(attempt, browser.carry_on(shown, op.user))


def test_oidcc_ui_locales(op: Op, browser: Browser) -> None:
    """An unknown locale is no error; a known one decides the page's language (OIDC Core §3.1.2.1)."""
    op.happy(browser, ui_locales="se")
    for wanted in ("ja", "en"):
        shown = browser.visit(op.attempt(ui_locales=f"xx {wanted}", prompt="login").url)
        assert isinstance(shown, Page)
        assert shown.lang == wanted


def test_oidcc_claims_locales(op: Op, browser: Browser) -> None:
    op.happy(browser, claims_locales="se")


def test_oidcc_ensure_request_with_acr_values_succeeds(op: Op, browser: Browser) -> None:
    """Succeeds, and tells one of the advertised values when one of them was asked for."""
    offered = op.party.metadata.get("acr_values_supported", [])
    signed = op.happy(browser, acr_values=" ".join(offered) or "1 2")
    if offered:
        assert signed.claims["acr"] in offered


def test_oidcc_codereuse(op: Op, browser: Browser) -> None:
    """RFC 6749 §4.1.2."""
    signed = op.happy(browser)
    refusal(op.party.redeem(signed.attempt, signed.landing), "invalid_grant")


def test_oidcc_codereuse_30seconds(op: Op, browser: Browser) -> None:
    """The suite waits 30 s, we do not: a taken code is refused for ever, no clock takes part in that. Its other half is

    tested at once: what the first use got is revoked, at UserInfo, at introspection, and for refreshing.
    """
    signed = op.happy(browser, scope="openid offline_access")
    refusal(op.party.redeem(signed.attempt, signed.landing), "invalid_grant")
    assert op.party.userinfo(signed.tokens["access_token"]).status_code == 401
    assert op.party.introspect(signed.tokens["access_token"]) == {"active": False}
    refusal(op.party.refresh(signed.tokens["refresh_token"]), "invalid_grant")


def test_oidcc_ensure_registered_redirect_uri(op: Op, browser: Browser) -> None:
    """OIDC Core §3.1.2.1: a page that says redirect_uri, never a redirect."""
    shown = browser.visit(op.attempt(redirect_uri="http://127.0.0.1:9000/callback/other").url)
    error_page(shown, "invalid_request", "redirect_uri")


def test_oidcc_ensure_post_request_succeeds(op: Op, browser: Browser) -> None:
    """OIDC Core §3.1.2.1: the authorization endpoint takes POST."""
    attempt = op.attempt()
    op.finish(attempt, browser.sign_in(op.party.endpoint("authorization"), op.user, data=attempt.params))


def test_oidcc_server_client_secret_post(op: Op, browser: Browser, extra: Extra) -> None:
    Op(extra("legacypost"), op.user, op.mode, pkce=False).happy(browser)


def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(op: Op, browser: Browser) -> None:
    assert op.party.metadata["request_uri_parameter_supported"] is False
    op.refused(browser, "request_uri_not_supported", request_uri="https://rp.example/request.jwt")


def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(op: Op, browser: Browser) -> None:
    """OIDC Core §3.1.2.6: to ignore the request object would be wrong."""
    assert op.party.metadata.get("request_parameter_supported", False) is False
    op.refused(browser, "request_not_supported", request=request_object(state="inside"))


def test_oidcc_claims_essential(op: Op, browser: Browser) -> None:
    """OIDC Core §5.5.1."""
    wanted = json.dumps({"userinfo": {"name": {"essential": True}}})
    assert told(op, op.happy(browser, claims=wanted))["name"]


def test_oidcc_ensure_request_object_with_redirect_uri(op: Op, browser: Browser) -> None:
    """While request objects are not supported, one with another redirect_uri is refused and never followed."""
    foreign = request_object(redirect_uri="http://127.0.0.1:9000/elsewhere")
    landing = op.refused(browser, "request_not_supported", request=foreign)
    assert "elsewhere" not in landing.url


def test_oidcc_refresh_token(op: Op, new_browser: NewBrowser, extra: Extra) -> None:
    """OIDC Core §12: refreshing works, keeps who signed in, and a refresh token is bound to its client."""
    signed = op.happy(new_browser(), scope="openid offline_access", prompt="consent")
    again = success(op.party.refresh(signed.tokens["refresh_token"]))
    assert again["access_token"] != signed.tokens["access_token"]
    success(op.party.userinfo(again["access_token"]))
    if "id_token" in again:
        claims = op.party.verify(again["id_token"], audience=op.party.client.client_id)
        for name in ("iss", "sub", "auth_time"):
            assert claims[name] == signed.claims[name]
    second = extra("legacypost")
    foreign = Op(second, op.user, op.mode, pkce=False).happy(
        new_browser(), scope="openid offline_access", prompt="consent"
    )
    refusal(op.party.refresh(foreign.tokens["refresh_token"]), "invalid_grant")
    success(second.refresh(foreign.tokens["refresh_token"]))


def test_oidcc_ensure_request_with_valid_pkce_succeeds(op: Op, browser: Browser) -> None:
    assert "code_challenge" in op.happy(browser, pkce=True).attempt.params
