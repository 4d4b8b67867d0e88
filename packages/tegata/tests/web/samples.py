"""One page of each kind with every part filled in, and a reader that fails on broken HTML."""

from __future__ import annotations

from html.parser import HTMLParser

from tegata.web.pages import (
    Command,
    ConsentPage,
    ErrorPage,
    FormPostPage,
    LandingClient,
    LandingPage,
    LandingTenant,
    LandingUser,
    Link,
    LogoutConfirmPage,
    Page,
    PlaygroundPage,
    ScopeLine,
    SignedOutPage,
    SignInPage,
)

BASE = "http://127.0.0.1:8080"
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Document(HTMLParser):
    """The elements of a page, in order; fails on an element that is closed wrongly or twice."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"repeated attribute on {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def by_id(self, value: str) -> tuple[str, dict[str, str | None]]:
        (found,) = [element for element in self.elements if element[1].get("id") == value]
        return found

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(sorted(attrs))) for tag, attrs in self.elements]


SIGN_IN = SignInPage(
    action="/demo/sign-in",
    csrf_token="token",
    tenant_name="Demo",
    client_name="Portal",
    client_logo_uri="https://client.example/logo.png",
    client_policy_uri="https://client.example/policy",
    client_tos_uri="https://client.example/tos",
    username="yamada",
    error="wrong_credentials",
    cancel=True,
    signed_in_as="山田 太郎",
)
CONSENT = ConsentPage(
    action="/demo/consent",
    csrf_token="token",
    tenant_name="Demo",
    client_name="Portal",
    user_name="山田 太郎",
    scopes=(ScopeLine("openid"), ScopeLine("experiments", "See the experiments"), ScopeLine("other")),
    claims=("birthdate", "given_name", "family_name", "badge"),
    resources=("beer-development-service",),
    client_uri="https://client.example/",
    client_logo_uri="https://client.example/logo.png",
    client_policy_uri="https://client.example/policy",
    client_tos_uri="https://client.example/tos",
)
SIGNED_OUT = SignedOutPage("Demo", "https://client.example/")
LOGOUT = LogoutConfirmPage("/demo/logout", "token", "Demo", "山田 太郎", "Portal")
ERROR = ErrorPage("invalid_request", "The redirect_uri is not registered.", "Demo", "request-1")
FORM_POST = FormPostPage("https://client.example/callback", (("code", "abc"), ("state", 'a"b&c')))
TENANT = LandingTenant(
    "demo",
    f"{BASE}/demo",
    (LandingUser("yamada", "password", ("researcher",), "山田 太郎"),),
    (
        LandingClient("demo-web", "secret", "client_secret_basic", ("http://localhost:9000/callback",), ("code",)),
        LandingClient("demo-spa", None, "none"),
    ),
    ("beer-development-service",),
)
LANDING = LandingPage(
    BASE, (TENANT,), (Command("Discovery", "curl"),), (Link("Ready", "/readyz"),), "/playground", "0.1.0"
)
PLAYGROUND = PlaygroundPage(
    issuer=f"{BASE}/demo",
    authorization_endpoint=f"{BASE}/demo/authorize",
    token_endpoint=f"{BASE}/demo/token",
    userinfo_endpoint=f"{BASE}/demo/userinfo",
    end_session_endpoint=f"{BASE}/demo/end_session",
    client_id="demo-playground",
    redirect_uri=f"{BASE}/playground",
    api_uri=f"{BASE}/example-api/experiments",
    resource="beer-development-service",
    users=TENANT.users,
)
SAMPLES: tuple[Page, ...] = (SIGN_IN, CONSENT, SIGNED_OUT, LOGOUT, ERROR, FORM_POST, LANDING, PLAYGROUND)
