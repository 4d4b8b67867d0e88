"""OpenID Foundation plan RP-initiated logout OP, one test for each module."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from packages.tegata.tests.acceptance.contract import User
from packages.tegata.tests.acceptance.pages import Page
from packages.tegata.tests.acceptance.relying_party import Browser, Landing, RelyingParty

from .conformance import Op, Signed

SignedIn = tuple[Op, Browser, Signed]


@pytest.fixture
def op(web: RelyingParty, user: User) -> Op:
    return Op(web, user, "query")


@pytest.fixture
def signed_in(op: Op, browser: Browser) -> SignedIn:
    return op, browser, op.happy(browser)


def end_session(op: Op, browser: Browser, **params: str) -> Page | Landing:
    """Send the browser to the endpoint; the server may go on, or ask whether to sign out."""
    return browser.visit(op.party.endpoint("end_session") + ("?" + urlencode(params) if params else ""))


def confirmed(browser: Browser, shown: Page | Landing) -> Page | Landing:
    if isinstance(shown, Page) and shown.form_with(button="logout-approve"):
        return browser.press(shown, "logout-approve")
    return shown


def wanted(op: Op) -> str:
    return op.party.client.post_logout_redirect_uris[0]


def nobody_signed_in(op: Op, browser: Browser) -> None:
    op.refused(browser, "login_required", prompt="none")


def came_back(op: Op, shown: Page | Landing) -> Landing:
    assert isinstance(shown, Landing), f"{shown.status}: {shown.text[:300]}"
    assert shown.url.split("?")[0] == wanted(op)
    return shown


def stays_here(browser: Browser, shown: Page | Landing) -> None:
    """An error or a question, and no way to the client, not even after the answer to the question."""
    assert isinstance(shown, Page)
    assert "error-code" in shown.texts or shown.form_with(button="logout-approve")
    assert isinstance(confirmed(browser, shown), Page)


def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(op: Op) -> None:
    assert op.party.metadata["end_session_endpoint"]


def test_oidcc_rp_initiated_logout(signed_in: SignedIn) -> None:
    """RP-Initiated Logout §3: back to the registered address with `state`, and nobody is signed in."""
    op, browser, signed = signed_in
    shown = end_session(
        op, browser, id_token_hint=signed.tokens["id_token"], post_logout_redirect_uri=wanted(op), state="abc"
    )
    assert came_back(op, confirmed(browser, shown)).params == {"state": "abc"}
    nobody_signed_in(op, browser)


def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(signed_in: SignedIn) -> None:
    op, browser, signed = signed_in
    stays_here(
        browser,
        end_session(
            op,
            browser,
            id_token_hint=signed.tokens["id_token"],
            post_logout_redirect_uri="http://127.0.0.1:9000/not-registered",
        ),
    )


def test_oidcc_rp_initiated_logout_modified_id_token_hint(signed_in: SignedIn) -> None:
    """The hint's header is changed to `alg: none`."""
    op, browser, signed = signed_in
    _, payload, _ = signed.tokens["id_token"].split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    hint = f"{header}.{payload}."
    stays_here(browser, end_session(op, browser, id_token_hint=hint, post_logout_redirect_uri=wanted(op)))


def test_oidcc_rp_initiated_logout_no_id_token_hint(signed_in: SignedIn) -> None:
    op, browser, _ = signed_in
    stays_here(browser, end_session(op, browser, post_logout_redirect_uri=wanted(op)))


def test_oidcc_rp_initiated_logout_no_params(signed_in: SignedIn) -> None:
    op, browser, _ = signed_in
    _signed_out_here(op, browser, lambda: end_session(op, browser))


def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(signed_in: SignedIn) -> None:
    op, browser, signed = signed_in
    hint = signed.tokens["id_token"]
    _signed_out_here(op, browser, lambda: end_session(op, browser, id_token_hint=hint, state="abc"))


def test_oidcc_rp_initiated_logout_no_state(signed_in: SignedIn) -> None:
    op, browser, signed = signed_in
    shown = end_session(op, browser, id_token_hint=signed.tokens["id_token"], post_logout_redirect_uri=wanted(op))
    assert came_back(op, confirmed(browser, shown)).params == {}
    nobody_signed_in(op, browser)


def test_oidcc_rp_initiated_logout_only_state(signed_in: SignedIn) -> None:
    op, browser, _ = signed_in
    _signed_out_here(op, browser, lambda: end_session(op, browser, state="abc"))


def test_oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(signed_in: SignedIn) -> None:
    op, browser, signed = signed_in
    added = wanted(op) + "?foo=bar"
    shown = end_session(op, browser, id_token_hint=signed.tokens["id_token"], post_logout_redirect_uri=added)
    stays_here(browser, shown)


def test_oidcc_rp_initiated_logout_bad_id_token_hint(signed_in: SignedIn) -> None:
    """The hint says the right things under a key that is not the server's."""
    op, browser, signed = signed_in
    header = jwt.get_unverified_header(signed.tokens["id_token"])
    claims = signed.claims | {"iat": int(time.time())}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    hint = jwt.encode(claims, key, "RS256", headers={"kid": header["kid"]})
    stays_here(browser, end_session(op, browser, id_token_hint=hint, post_logout_redirect_uri=wanted(op)))


def _signed_out_here(op: Op, browser: Browser, leave: Callable[[], Page | Landing]) -> None:
    shown = confirmed(browser, leave())
    assert isinstance(shown, Page)
    assert shown.status == 200
    nobody_signed_in(op, browser)
