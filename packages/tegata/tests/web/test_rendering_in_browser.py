"""The pages in a real Chromium: nothing overflows, text can be read, forms work without JavaScript, policies hold."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tegata.web import pages
from tegata.web.assets import Assets
from tegata.web.locales import LOCALES, load_catalogues
from tegata.web.rendering import Renderer, build_page_headers

pytestmark = pytest.mark.browser

CHROMIUM_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
LONG = "Fermentation Research and Development Portal of the Very Long Company Name (Internal, Preview)"
UNBREAKABLE = "Wolfeschlegelsteinhausenbergerdorff" * 3


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What the test's server says."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """What a browser sent to the test's server."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


def not_found(_: Sent) -> Answer:
    return Answer(404)


class Site:
    """A server on a port of its own, that is, an origin of its own."""

    def __init__(self) -> None:
        self.seen: list[Sent] = []
        # Chromium asks for the icon of a page that names none, whenever it likes.
        self.answers: dict[str, Callable[[Sent], Answer]] = {"/favicon.ico": lambda _: Answer(204)}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                sent = Sent(self.command, address.path, flat(address.query), flat(body), dict(self.headers))
                site.seen.append(sent)
                answer = site.answers.get(address.path, not_found)(sent)
                self.send_response(answer.status)
                for name, value in {**answer.headers, "content-length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def posts(self, path: str) -> list[Sent]:
        return [sent for sent in self.seen if sent.method == "POST" and sent.path == path]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class TegataSite(Site):
    """Serves rendered pages with their headers, and the static files."""

    def __init__(self) -> None:
        super().__init__()
        assets = Assets()
        self.renderer = Renderer(assets, load_catalogues())
        for name in ("tegata.css", "seal.svg", "form-post.js", "playground.js"):
            url = assets.url(name)
            content, content_type = assets.find(url) or (b"", "")
            static = Answer(200, content, {"content-type": content_type})
            self.answers[url] = lambda _, static=static: static  # type: ignore[misc]

    def show(self, path: str, page: pages.Page, locale: str = "en", form_targets: tuple[str, ...] = ()) -> str:
        """Serve the page at `path`, and return its address."""
        body, headers = self.renderer.render(page, locale).encode(), build_page_headers(page, form_targets)
        self.answers[path] = lambda _: Answer(200, body, headers)
        return self.origin + path


def flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


def redirect(to: str) -> Callable[[Sent], Answer]:
    return lambda _: Answer(303, headers={"location": to})


def as_json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"content-type": "application/json"})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture
def site() -> Iterator[TegataSite]:
    server = TegataSite()
    yield server
    server.close()


@pytest.fixture
def client() -> Iterator[Site]:
    server = Site()
    server.answers["/callback"] = lambda _: Answer(200, b"signed in at the client")
    yield server
    server.close()


@pytest.fixture
def elsewhere() -> Iterator[Site]:
    server = Site()
    server.answers["/"] = lambda _: Answer(200, b"signed in elsewhere")
    yield server
    server.close()


def open_page(chromium: Browser, **options: Any) -> tuple[Page, list[str]]:
    """Return a page in a context of its own, and the list its complaints go to (blocked resources, errors)."""
    page = chromium.new_context(**options).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


def lengthy_pages() -> list[pages.Page]:
    user = pages.LandingUser(UNBREAKABLE[:60], "password", ("researcher", "developer", "evaluator"), LONG)
    web = pages.LandingClient(
        UNBREAKABLE[:60], UNBREAKABLE, "client_secret_basic", (f"https://{UNBREAKABLE}/",), ("a",)
    )
    tenant = pages.LandingTenant("demo", "https://demo.example/demo", (user,), (web,), (UNBREAKABLE,))
    address = "https://client.example/"
    return [
        pages.SignInPage("/s", "t", LONG, LONG, None, address, address, UNBREAKABLE, "throttled", True, UNBREAKABLE),
        pages.ConsentPage(
            "/c",
            "t",
            LONG,
            UNBREAKABLE,
            UNBREAKABLE,
            tuple(map(pages.ScopeLine, ("openid", "profile", "admin", f"https://{UNBREAKABLE}", "x" * 200))),
            ("birthdate", UNBREAKABLE),
            (f"https://{UNBREAKABLE}/",),
            client_uri=f"https://{UNBREAKABLE}/",
        ),
        pages.SignedOutPage(UNBREAKABLE, address),
        pages.LogoutConfirmPage("/l", "t", LONG, UNBREAKABLE, LONG),
        pages.ErrorPage(UNBREAKABLE, UNBREAKABLE, LONG, UNBREAKABLE),
        pages.LandingPage("https://demo.example", (tenant,), (pages.Command(LONG, f"curl {UNBREAKABLE}"),)),
        pages.PlaygroundPage(*("https://demo.example/x",) * 5, UNBREAKABLE, "https://a.example/", "https://a.example/"),
    ]


WIDEST = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# WCAG 2.2 §1.4.3: 4.5 to 1 for text. Elements without text of their own do not count.
PALE_TEXTS = """() => {
  const channel = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const luminance = ([r, g, b]) =>
    0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const behind = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.body.querySelectorAll("*")]
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((element) => !["SCRIPT", "NOSCRIPT"].includes(element.tagName) && element.checkVisibility())
    .map((element) => {
      const colours = [parse(getComputedStyle(element).color), behind(element)];
      const [dark, light] = colours.map(luminance).sort((a, b) => a - b);
      return [(light + 0.05) / (dark + 0.05), element.outerHTML.slice(0, 80)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("locale", LOCALES)
def test_nothing_overflows_a_narrow_phone_however_long_the_names(
    chromium: Browser, site: TegataSite, locale: str
) -> None:
    page, complaints = open_page(chromium, viewport={"width": 320, "height": 640})
    for shown in lengthy_pages():
        page.goto(site.show(f"/{type(shown).__name__}", shown, locale))
        assert page.evaluate(WIDEST) <= 0, type(shown).__name__
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(chromium: Browser, site: TegataSite, scheme: Any) -> None:
    page, _ = open_page(chromium, color_scheme=scheme)
    for shown in lengthy_pages():
        page.goto(site.show(f"/{type(shown).__name__}", shown))
        assert page.evaluate(PALE_TEXTS) == [], type(shown).__name__


def test_sign_in_works_without_javascript_and_shows_where_the_focus_is(chromium: Browser, site: TegataSite) -> None:
    page, complaints = open_page(chromium, java_script_enabled=False)
    site.answers["/demo/sign-in"] = lambda _: Answer(200, b"taken")
    page.goto(site.show("/page", pages.SignInPage("/demo/sign-in", "csrf", "Demo", cancel=True)))
    page.keyboard.type("yamada")  # autofocus
    page.fill("#password", "secret")
    page.keyboard.press("Enter")
    page.wait_for_url("**/demo/sign-in")
    (sent,) = site.posts("/demo/sign-in")
    assert sent.form == {"csrf_token": "csrf", "username": "yamada", "password": "secret"}
    assert sent.headers["Origin"] == site.origin
    assert complaints == []


@pytest.mark.parametrize(
    ("button", "decision"), [("login-cancel", "cancel"), ("select-continue", "continue"), ("login-submit", None)]
)
def test_each_button_of_the_sign_in_page_says_what_was_pressed(
    chromium: Browser, site: TegataSite, button: str, decision: str | None
) -> None:
    page, _ = open_page(chromium)
    site.answers["/demo/sign-in"] = lambda _: Answer(200, b"taken")
    page.goto(site.show("/page", pages.SignInPage("/demo/sign-in", "csrf", "Demo", cancel=True, signed_in_as="Taro")))
    if button == "login-submit":
        page.fill("#username", "yamada")
        page.fill("#password", "secret")
    page.click(f"#{button}")
    page.wait_for_url("**/demo/sign-in")
    assert site.posts("/demo/sign-in")[0].form.get("decision") == decision


@pytest.mark.parametrize("named", [True, False], ids=["target named", "no target named"])
def test_a_form_may_lead_to_the_client_and_on_to_where_the_client_redirects(
    chromium: Browser, site: TegataSite, client: Site, elsewhere: Site, named: bool
) -> None:
    """Chromium holds every redirect after a form POST against form-action, the client's own ones included."""
    page, complaints = open_page(chromium)
    client.answers["/callback"] = redirect(f"{elsewhere.origin}/")
    site.answers["/demo/consent"] = redirect(f"{client.origin}/callback")
    consent = pages.ConsentPage("/demo/consent", "csrf", "Demo", "Portal", "Taro", (pages.ScopeLine("openid"),))
    targets = (f"{client.origin}/callback",) if named else ()
    page.goto(site.show("/page", consent, form_targets=targets))
    if named:
        page.click("#consent-approve")
        page.wait_for_url(f"{elsewhere.origin}/")
    else:
        with page.expect_console_message():
            page.click("#consent-approve", no_wait_after=True)
        expect(page.locator("#consent-approve")).to_be_visible()
    assert site.posts("/demo/consent")[0].form == {"csrf_token": "csrf", "decision": "approve"}
    assert (complaints == []) is named
    assert any(sent.path == "/" for sent in elsewhere.seen) is named


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_form_post_reaches_the_client(chromium: Browser, site: TegataSite, client: Site, scripted: bool) -> None:
    page, complaints = open_page(chromium, java_script_enabled=scripted)
    fields = (("code", "a b&c"), ("state", "<\"'>"), ("iss", f"{site.origin}/demo"))
    page.goto(site.show("/page", pages.FormPostPage(f"{client.origin}/callback", fields)), wait_until="commit")
    if not scripted:
        page.click("#form-post-continue")
    page.wait_for_url(f"{client.origin}/callback")
    (sent,) = client.posts("/callback")
    assert sent.form == dict(fields)
    assert sent.headers["Origin"] == site.origin
    assert complaints == []


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
