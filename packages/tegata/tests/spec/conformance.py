"""The steps most conformance modules share: authorize, check the answer, redeem, check the tokens."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from packages.tegata.tests.acceptance.contract import User
from packages.tegata.tests.acceptance.pages import Page
from packages.tegata.tests.acceptance.relying_party import Attempt, Browser, Landing, RelyingParty, success


@dataclass(frozen=True, slots=True)
class Signed:
    """One finished sign-in: the answer, the token response, the verified ID token claims."""

    attempt: Attempt
    landing: Landing
    tokens: dict[str, Any]
    claims: dict[str, Any]


@dataclass(slots=True)
class Op:
    """A client that asks for its answers in one response mode, and the person at its browser."""

    party: RelyingParty
    user: User
    mode: str
    pkce: bool = True

    def attempt(self, **params: Any) -> Attempt:
        ours = {"response_mode": None if self.mode == "query" else self.mode, "pkce": self.pkce}
        return self.party.attempt(**(ours | params))

    def happy(self, browser: Browser, **params: Any) -> Signed:
        """A sign-in that must succeed, whatever `params` add."""
        attempt = self.attempt(**params)
        return self.finish(attempt, browser.sign_in(attempt.url, self.user))

    def finish(self, attempt: Attempt, landing: Landing) -> Signed:
        self.check_answer(attempt, landing)
        answer = self.party.redeem(attempt, landing)
        tokens = success(answer)
        # RFC 6749 §5.1
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"].startswith("application/json")
        assert tokens["token_type"].lower() == "bearer"
        assert int(tokens["expires_in"]) > 0
        claims = self.check_id_token(attempt, tokens)
        assert success(self.party.userinfo(tokens["access_token"]))["sub"] == claims["sub"]
        return Signed(attempt, landing, tokens, claims)

    def check_answer(self, attempt: Attempt, landing: Landing) -> None:
        assert landing.mode == self.mode
        assert landing.url.split("?")[0] == attempt.redirect_uri
        assert landing.params.get("state", "") == attempt.state
        assert landing.params["iss"] == self.party.tenant.issuer  # RFC 9207 §2

    def check_id_token(self, attempt: Attempt, tokens: dict[str, Any]) -> dict[str, Any]:
        """OIDC Core §2, §3.1.3.6, §3.1.3.7."""
        claims = self.party.verify(tokens["id_token"], audience=self.party.client.client_id)
        assert claims.get("nonce") == attempt.nonce
        assert 0 < len(claims["sub"]) <= 255
        assert abs(claims["iat"] - time.time()) < 300
        assert claims.get("azp", self.party.client.client_id) == self.party.client.client_id
        if "at_hash" in claims:
            half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
            assert claims["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
        return claims

    def refused(self, browser: Browser, error: str, **params: Any) -> Landing:
        """A request that must come back to the client with `error`, asking nobody anything."""
        attempt = self.attempt(**params)
        landing = browser.visit(attempt.url)
        assert isinstance(landing, Landing), landing
        self.check_answer(attempt, landing)
        assert landing.params["error"] == error, landing.params
        return landing


def error_page(shown: Page | Landing, code: str, *words: str) -> Page:
    """Assert that a page, not the client, got the error, and that it names the fault in a stable place."""
    assert isinstance(shown, Page), f"sent to {shown.url}"
    assert 400 <= shown.status < 500
    assert shown.texts["error-code"] == code
    for word in words:
        assert word in shown.texts["error-description"]
    return shown


@pytest.fixture(params=["query", "form_post"])
def op(request: pytest.FixtureRequest, extra: Callable[[str], RelyingParty], user: User) -> Op:
    """Basic OP and Form Post OP differ in this alone. Like the suite's, the client sends no PKCE."""
    return Op(extra("legacy"), user, request.param, pkce=False)
