"""A browser without JavaScript and a relying party, made for tests: they send what they are told."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urljoin, urlsplit

import httpx2
import jwt

from .contract import Client, Tenant, User
from .pages import Page, parse_page


def plain_client() -> httpx2.Client:
    """A client for loopback http. `verify` is about https alone; leaving it on costs reading all authorities."""
    return httpx2.Client(timeout=60, follow_redirects=False, verify=False)


REDIRECTS = frozenset({301, 302, 303, 307, 308})
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Landing:
    """Where the server sent the browser when it left the server: the answer to the client."""

    url: str
    mode: str
    params: dict[str, str]

    @property
    def code(self) -> str:
        assert "code" in self.params, f"no code but {self.params}"
        return self.params["code"]


class Unexpected(AssertionError):
    """The server showed a page the test has no answer for."""

    def __init__(self, page: Page) -> None:
        super().__init__(f"unexpected page {page.status} {page.url}: {page.text[:600]}")
        self.page = page


@dataclass(slots=True)
class Browser:
    """One person's browser: a cookie jar that stays at the server until it is sent to a client.

    `trail` lists the pages that were shown, `sign-in` and `consent`, in order.
    """

    base_url: str
    http: httpx2.Client = field(default_factory=plain_client)
    trail: list[str] = field(default_factory=list)

    def visit(
        self, url: str, *, data: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Page | Landing:
        """Open `url` (POST when there is `data`) and follow the server's own redirects."""
        method = "GET" if data is None else "POST"
        for _ in range(12):
            answer = self.http.request(method, url, data=data, headers=headers, follow_redirects=False)
            if answer.status_code not in REDIRECTS:
                return self._read(answer)
            if answer.status_code != 307:
                method, data = "GET", None
            url = urljoin(url, answer.headers["location"])
            if not self._is_ours(url):
                return _landing(url)
        raise AssertionError(f"redirects without end, at last to {url}")

    def press(self, page: Page, button: str, **values: str) -> Page | Landing:
        """Fill in `values` and press the button with that id."""
        form = page.form_with(button=button)
        if form is None:
            raise Unexpected(page)
        return self.visit(form.target(button), data=form.data(button=button, **values))

    def sign_in(
        self, start: str, user: User, *, decision: str = "approve", data: dict[str, str] | None = None
    ) -> Landing:
        """Open `start` and do what the pages ask until the browser is sent to the client."""
        return self.carry_on(self.visit(start, data=data), user, decision=decision)

    def carry_on(self, shown: Page | Landing, user: User, *, decision: str = "approve") -> Landing:
        for _ in range(6):
            if isinstance(shown, Landing):
                return shown
            if shown.form_with(field_name="password"):
                self.trail.append("sign-in")
                shown = self.press(shown, "login-submit", username=user.username, password=user.password)
            elif shown.form_with(button="consent-approve"):
                self.trail.append("consent")
                shown = self.press(shown, f"consent-{decision}")
            else:
                raise Unexpected(shown)
        raise AssertionError(f"pages without end: {self.trail}")

    def close(self) -> None:
        self.http.close()

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url).netloc == urlsplit(self.base_url).netloc

    def _read(self, answer: httpx2.Response) -> Page | Landing:
        page = parse_page(str(answer.url), answer.status_code, answer.text)
        for form in page.forms:
            if form.method == "post" and not self._is_ours(form.action):
                return Landing(form.action, "form_post", form.data())
        return page


def _landing(url: str) -> Landing:
    parts = urlsplit(url)
    if parts.fragment:
        return Landing(url, "fragment", dict(parse_qsl(parts.fragment, keep_blank_values=True)))
    return Landing(url, "query", dict(parse_qsl(parts.query, keep_blank_values=True)))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One authorization request and what its client remembers about it."""

    url: str
    redirect_uri: str
    state: str
    nonce: str | None
    verifier: str | None
    params: dict[str, str]


@dataclass(slots=True)
class RelyingParty:
    """One client at one tenant. `at` sends its requests to another tenant's endpoints instead."""

    tenant: Tenant
    client: Client
    http: httpx2.Client
    metadata: dict[str, Any]

    @classmethod
    def discover(cls, tenant: Tenant, suffix: str, http: httpx2.Client, *, at: Tenant | None = None) -> RelyingParty:
        answer = http.get((at or tenant).issuer + "/.well-known/openid-configuration")
        answer.raise_for_status()
        return cls(tenant, tenant.client(suffix), http, answer.json())

    def endpoint(self, name: str) -> str:
        return str(self.metadata[f"{name}_endpoint"])

    def attempt(self, *, pkce: bool = True, nonce: bool = True, **params: str | None) -> Attempt:
        """A good code request with PKCE, changed by `params`; a value of None leaves a parameter out."""
        verifier = secrets.token_urlsafe(48) if pkce else None
        sent: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uris[0],
            "scope": "openid",
            "state": secrets.token_urlsafe(12),
            "nonce": secrets.token_urlsafe(12) if nonce else None,
            "code_challenge": s256(verifier) if verifier else None,
            "code_challenge_method": "S256" if verifier else None,
        }
        given = {name: value for name, value in (sent | params).items() if value is not None}
        url = str(httpx2.URL(self.endpoint("authorization"), params=given))
        return Attempt(url, given.get("redirect_uri", ""), given.get("state", ""), given.get("nonce"), verifier, given)

    def credentials(self, form: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """The form and the headers with this client's own authentication added."""
        method, client = self.client.token_endpoint_auth_method, self.client
        if method == "client_secret_basic":
            return form, {"authorization": basic(client.client_id, client.client_secret or "")}
        if method == "client_secret_post":
            return {"client_id": client.client_id, "client_secret": client.client_secret or "", **form}, {}
        if method == "private_key_jwt":
            return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(), **form}, {}
        return {"client_id": client.client_id, **form}, {}

    def assertion(self, **claims: Any) -> str:
        """A client assertion for the issuer of the metadata. RFC 7523 §3, RFC 9700 §2.5."""
        assert self.client.jwks is not None
        key = self.client.jwks["keys"][0]
        now = int(time.time())
        payload = {
            "iss": self.client.client_id,
            "sub": self.client.client_id,
            "aud": self.metadata["issuer"],
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + 60,
        } | claims
        algorithm = key.get("alg") or {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}[key["kty"]]
        return jwt.encode(payload, jwt.PyJWK(key, algorithm).key, algorithm, headers={"kid": key.get("kid")})

    def post(self, endpoint: str, form: dict[str, str]) -> httpx2.Response:
        """An authenticated back-channel POST."""
        sent, headers = self.credentials(form)
        return self.http.post(self.endpoint(endpoint), data=sent, headers=headers)

    def token(self, **form: str) -> httpx2.Response:
        return self.post("token", form)

    def redeem(self, attempt: Attempt, landing: Landing, **changed: str) -> httpx2.Response:
        form = {"grant_type": "authorization_code", "code": landing.code, "redirect_uri": attempt.redirect_uri}
        if attempt.verifier:
            form["code_verifier"] = attempt.verifier
        return self.token(**(form | changed))

    def refresh(self, refresh_token: str, **form: str) -> httpx2.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **form)

    def tokens(self, browser: Browser, user: User, **params: Any) -> dict[str, Any]:
        """Sign the user in and redeem the code: the token response, which must be a success."""
        attempt = self.attempt(**params)
        landing = browser.sign_in(attempt.url, user)
        assert landing.params.get("state") == attempt.state
        return success(self.redeem(attempt, landing))

    def userinfo(self, access_token: str) -> httpx2.Response:
        return self.http.get(self.endpoint("userinfo"), headers=bearer(access_token))

    def introspect(self, token: str) -> dict[str, Any]:
        return success(self.post("introspection", {"token": token}))

    def keys(self) -> dict[str, Any]:
        return success(self.http.get(str(self.metadata["jwks_uri"])))

    def verify(self, token: str, *, audience: str | None = None) -> dict[str, Any]:
        """Check a JWT of this issuer with PyJWT and the published keys, and give its claims."""
        header = jwt.get_unverified_header(token)
        published = jwt.PyJWKSet.from_dict(self.keys())
        claims: dict[str, Any] = jwt.decode(
            token,
            published[header["kid"]].key,
            algorithms=[header["alg"]] if header["alg"] in {"ES256", "RS256", "PS256", "EdDSA"} else [],
            audience=audience,
            issuer=str(self.metadata["issuer"]),
            options={"verify_aud": audience is not None, "require": ["iss", "sub", "aud", "exp", "iat"]},
        )
        return claims


def success(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, (
        f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
    )
    document: dict[str, Any] = answer.json()
    return document


def refusal(answer: httpx2.Response, error: str, status: int = 400) -> dict[str, Any]:
    """Assert an OAuth error answer of RFC 6749 §5.2 and give its body."""
    assert answer.status_code == status, f"wanted {status} {error}, got {answer.status_code} {answer.text[:500]}"
    document: dict[str, Any] = answer.json()
    assert document["error"] == error, document
    return document


def basic(username: str, password: str) -> str:
    """RFC 6749 §2.3.1: each part is form-encoded before the two are joined."""
    joined = f"{quote_plus(username)}:{quote_plus(password)}"
    return "Basic " + base64.b64encode(joined.encode()).decode()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


Party = Callable[[str, str], RelyingParty]
