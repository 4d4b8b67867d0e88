"""Whatever is sent, at whatever moment: the answer is a refusal in the right form and never a fault of ours."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tegata.testing.relying_party import Browser, Page, RelyingParty, handle_in
from tegata.testing.server import API, CALLBACK, PASSWORD, SIGNED_OUT, Server, serving

pytestmark = pytest.mark.anyio

ENDPOINTS = (
    "authorize",
    "authorize/resume",
    "sign-in",
    "choose-account",
    "consent",
    "end_session",
    "sign-out",
    "token",
    "introspect",
    "revoke",
    "userinfo",
    "jwks",
    ".well-known/openid-configuration",
)
NAMES = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
    "ui_locales",
    "acr_values",
    "claims",
    "display",
    "resource",
    "request",
    "request_uri",
    "grant_type",
    "code",
    "code_verifier",
    "refresh_token",
    "token",
    "token_type_hint",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "access_token",
    "post_logout_redirect_uri",
    "csrf_token",
    "decision",
    "username",
    "password",
    "interaction",
]
KNOWN = [
    "web",
    "own",
    "spa",
    "post",
    "jwt",
    "service",
    "closed",
    "openid",
    "profile",
    "offline_access",
    "read",
    "none",
    "login",
    "consent",
    "select_account",
    "code",
    "query",
    "form_post",
    "S256",
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "taro",
    "approve",
    "deny",
    "continue",
    "cancel",
    "0",
    "1",
    "en",
    "ja",
    "{}",
    "[]",
    "null",
    '{"id_token":{"acr":{"essential":true}}}',
    '{"userinfo":{"name":{"value":[1,{}]}}}',
    "a.b.c",
    "e30.e30.e30",
]
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
VALUES = st.one_of(st.sampled_from([*KNOWN, CALLBACK, SIGNED_OUT, API, PASSWORD, "x" * 43, "openid read"]), ANY_TEXT)
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=10)
HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "cookie", "accept-language", "content-type", "if-none-match", "x-forwarded-for"]),
    st.one_of(
        st.sampled_from(["Basic d2ViOng=", "Bearer a.b.c", "Bearer x", "Basic *", "application/json", "text/html"]),
        st.text(st.characters(codec="latin-1"), max_size=60),
    ),
    max_size=3,
)


def check(reply_status: int, lines: list[dict[str, object]]) -> None:
    """Fail if the request was answered by a fault."""
    assert not [line for line in lines if line["event"] == "unexpected_error"]
    assert reply_status < 500


async def a_moment(server: Server, browser: Browser) -> dict[str, str]:
    """Bring a browser to the consent page; return what later requests may need."""
    web = RelyingParty(server)
    page = await browser.sign_in(await browser.get(web.url()))
    csrf = Page(page).forms["consent-form"].fields["csrf_token"]
    return {"interaction": handle_in(page.url), "csrf_token": csrf, **web.request()}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    endpoint=st.sampled_from(ENDPOINTS),
    query=FIELDS,
    form=FIELDS,
    headers=HEADERS,
    real=st.sets(st.sampled_from(["interaction", "csrf_token", "client_id", "redirect_uri", "response_type", "scope"])),
    with_cookies=st.booleans(),
)
async def test_any_parameters_at_any_endpoint(
    method: str,
    endpoint: str,
    query: list[tuple[str, str]],
    form: list[tuple[str, str]],
    headers: dict[str, str],
    real: set[str],
    with_cookies: bool,
) -> None:
    with capture_logs() as lines:
        async with serving() as server:
            browser = Browser(server)
            moment = await a_moment(server, browser)
            true = [(name, moment[name]) for name in sorted(real)]
            if with_cookies:
                cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
                headers = {**headers, "cookie": cookies}
            sent = [*query, *true] if method != "POST" or endpoint in {"sign-in", "consent"} else query
            reply = await server.request(
                method,
                f"{server.base_url}/acme/{endpoint}?{urlencode(sent)}",
                fields=[*form, *true] if method == "POST" else None,
                headers=headers,
            )
    check(reply.status, lines)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.one_of(ANY_TEXT, st.sampled_from([f"acme/{endpoint}" for endpoint in ENDPOINTS])),
    query=st.binary(max_size=60),
    body=st.binary(max_size=200),
    content_type=st.sampled_from(["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=x"]),
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"]),
)
async def test_any_bytes_at_any_address(path: str, query: bytes, body: bytes, content_type: str, method: str) -> None:
    with capture_logs() as lines:
        async with serving() as server:
            target = f"{server.base_url}/{quote(path)}?{quote(query, safe='&=+%')}"
            reply = await server.request(method, target, body=body, headers={"content-type": content_type})
    check(reply.status, lines)
