"""The playground in a real Chromium: the whole code flow, and what a client must refuse."""

from __future__ import annotations

import base64
import json

import pytest
from playwright.sync_api import Browser, Page, expect

from tegata.web import pages

from .sites import Answer, Sent, TegataSite, as_json, open_page, redirect

pytestmark = pytest.mark.browser


def token(claims: dict[str, object]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return ".".join((part({"alg": "ES256", "kid": "k"}), part(claims), "c2lnbmF0dXJl"))


class Provider:
    """A stand-in for the endpoints the playground talks to; it answers well unless told otherwise."""

    def __init__(self, site: TegataSite) -> None:
        self.site = site
        self.answer_changes: dict[str, str | None] = {}
        self.claims_changes: dict[str, object] = {}
        self.nonce = ""
        issuer = f"{site.origin}/demo"
        self.page = pages.PlaygroundPage(
            issuer=issuer,
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            userinfo_endpoint=f"{issuer}/userinfo",
            end_session_endpoint=f"{issuer}/end_session",
            client_id="demo-playground",
            redirect_uri=f"{site.origin}/playground",
            api_uri=f"{site.origin}/example-api/experiments",
        )
        site.show("/playground", self.page)
        site.answers["/demo/authorize"] = self.authorize
        site.answers["/demo/token"] = self.token
        site.answers["/demo/userinfo"] = lambda sent: as_json({"email": "taro@example.com"})
        site.answers["/demo/end_session"] = lambda sent: redirect(
            f"{self.page.redirect_uri}?state={sent.query['state']}"
        )(sent)
        site.answers["/example-api/experiments"] = lambda sent: as_json({"called": sent.method, **sent.headers})

    def authorize(self, sent: Sent) -> Answer:
        self.nonce = sent.query["nonce"]
        answer = {"code": "the-code", "state": sent.query["state"], "iss": self.page.issuer, **self.answer_changes}
        query = "&".join(f"{name}={value}" for name, value in answer.items() if value is not None)
        return redirect(f"{sent.query['redirect_uri']}?{query}")(sent)

    def token(self, sent: Sent) -> Answer:
        now = {"iss": self.page.issuer, "aud": "demo-playground", "exp": 4_000_000_000}
        claims = {**now, "nonce": self.nonce, "name": "<b>山田</b>", **self.claims_changes}
        tokens = {"access_token": token({"scope": "read", "grant": sent.form["grant_type"]}), "id_token": token(claims)}
        return as_json({**tokens, "refresh_token": "refresh-1", "token_type": "Bearer"})

    def start(self, page: Page) -> None:
        page.goto(f"{self.site.origin}/playground")
        page.click("#playground-start")


def test_the_playground_runs_the_whole_flow_and_shows_values_as_text(chromium: Browser, site: TegataSite) -> None:
    page, complaints = open_page(chromium)
    provider = Provider(site)
    provider.start(page)
    expect(page.locator("#playground-api-answer")).to_contain_text('"called": "GET"')
    expect(page.locator("#playground-id-token")).to_contain_text('"name": "<b>山田</b>"')
    expect(page.locator("#playground-access-token")).to_contain_text('"grant": "authorization_code"')
    expect(page.locator("#playground-access-token-raw")).to_contain_text(".c2lnbmF0dXJl")
    expect(page.locator("#playground-userinfo")).to_contain_text("taro@example.com")
    expect(page.locator("#playground-error")).to_be_hidden()
    assert page.url == f"{site.origin}/playground"  # the code is gone from the address
    asked = next(sent for sent in site.seen if sent.path == "/demo/authorize").query
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid profile email read write"
    (redeemed,) = site.posts("/demo/token")
    assert len(redeemed.form["code_verifier"]) >= 43
    assert redeemed.form["code"] == "the-code"
    page.click("#playground-refresh")
    expect(page.locator("#playground-access-token")).to_contain_text('"grant": "refresh_token"')
    page.click("#playground-api-post")
    expect(page.locator("#playground-api-answer")).to_contain_text('"called": "POST"')
    page.click("#playground-sign-out")
    expect(page.locator("#playground-status")).to_contain_text("Signed out")
    expect(page.locator("#playground-results")).to_be_hidden()
    assert complaints == []


@pytest.mark.parametrize(
    ("answer", "claims", "shown"),
    [
        pytest.param({"state": "other"}, {}, "state", id="a foreign state"),
        pytest.param({"iss": "https://evil.example"}, {}, "iss", id="a foreign issuer in the response"),
        pytest.param({"iss": None}, {}, "iss", id="no issuer in the response"),
        pytest.param({"code": None, "error": "access_denied"}, {}, "access_denied", id="the person said no"),
        pytest.param({}, {"nonce": "other"}, "nonce", id="a foreign nonce"),
        pytest.param({}, {"aud": "somebody-else"}, "aud", id="a foreign audience"),
        pytest.param({}, {"iss": "https://evil.example"}, "iss", id="a foreign issuer in the ID token"),
    ],
)
def test_the_playground_refuses_what_a_client_must_refuse(
    chromium: Browser, site: TegataSite, answer: dict[str, str | None], claims: dict[str, object], shown: str
) -> None:
    page, _ = open_page(chromium)
    provider = Provider(site)
    provider.answer_changes, provider.claims_changes = answer, claims
    provider.start(page)
    expect(page.locator("#playground-error")).to_contain_text(shown)
    expect(page.locator("#playground-results")).to_be_hidden()
