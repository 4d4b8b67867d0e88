"""The pages in a real Chromium: nothing overflows, text can be read, forms work without JavaScript, policies hold."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tegata.web import pages
from tegata.web.locales import LOCALES

from .sites import Answer, Site, TegataSite, open_page, redirect

pytestmark = pytest.mark.browser

LONG = "Fermentation Research and Development Portal of the Very Long Company Name (Internal, Preview)"
UNBREAKABLE = "Wolfeschlegelsteinhausenbergerdorff" * 3


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
    page.wait_for_selector("#username:focus")  # autofocus comes a moment after the page
    page.keyboard.type("yamada")
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
