"""The landing page and the playground of `tegata dev`: a whole code flow with PKCE inside the browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .chromium import DESKTOP, PHONE, NewVisitor, Visitor
from .contract import Dev, Tenant

pytestmark = pytest.mark.browser

SCREENS = pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])


@SCREENS
@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
@pytest.mark.parametrize("path", ["/", "/playground"])
def test_pages_fit_the_screen(
    new_visitor: NewVisitor, dev: Dev, screen: dict[str, int], locale: str, path: str
) -> None:
    visitor = new_visitor(viewport=screen, locale=locale)
    visitor.page.goto(dev.base_url + path)
    assert visitor.page.get_attribute("html", "lang") == locale[:2]
    assert visitor.overflow() <= 0


def test_landing_page_tells_what_dev_json_tells(new_visitor: NewVisitor, dev: Dev, demo: Tenant) -> None:
    visitor = new_visitor()
    visitor.page.goto(dev.base_url + "/")
    text = visitor.page.inner_text("body")
    for part in (demo.issuer, demo.users[0].username, "demo-web"):
        assert part in text
    visitor.page.click("#landing-playground")
    visitor.page.wait_for_selector("#playground-start")


@SCREENS
def test_playground_runs_the_whole_flow(
    new_visitor: NewVisitor, dev: Dev, demo: Tenant, screen: dict[str, int]
) -> None:
    visitor = new_visitor(viewport=screen)
    page = visitor.page
    page.goto(dev.base_url + "/playground")
    page.click("#playground-start")
    visitor.sign_in(demo.user_with("researcher"))
    page.wait_for_selector("#consent-approve, #playground-start")
    if page.query_selector("#consent-approve"):
        page.click("#consent-approve")
    expect(page.locator("#playground-api-answer")).not_to_be_empty()
    assert f'"iss": "{demo.issuer}"' in page.inner_text("#playground-id-token")
    assert '"scope"' in page.inner_text("#playground-access-token")
    assert page.inner_text("#playground-api-answer").strip()
    assert not page.is_visible("#playground-error")
    assert "code=" not in page.url, "a code left in the address ends up in the history"
    assert visitor.overflow() <= 0


def signed_in(visitor: Visitor, dev: Dev, demo: Tenant) -> Page:
    page = visitor.page
    page.goto(dev.base_url + "/playground")
    page.click("#playground-start")
    visitor.sign_in(demo.user_with("researcher"))
    page.wait_for_selector("#consent-approve, #playground-sign-out")
    if page.query_selector("#consent-approve"):
        page.click("#consent-approve")
    expect(page.locator("#playground-api-answer")).not_to_be_empty()
    return page


def test_playground_refreshes(new_visitor: NewVisitor, dev: Dev, demo: Tenant) -> None:
    page = signed_in(new_visitor(), dev, demo)
    before = page.inner_text("#playground-access-token")
    page.click("#playground-refresh")
    expect(page.locator("#playground-access-token")).not_to_have_text(before)
    assert not page.is_visible("#playground-error")


def test_playground_writes_through_the_api(new_visitor: NewVisitor, dev: Dev, demo: Tenant) -> None:
    page = signed_in(new_visitor(), dev, demo)
    page.click("#playground-api-post")
    expect(page.locator("#playground-api-answer")).to_contain_text('"status": 201')


def test_playground_signs_out(new_visitor: NewVisitor, dev: Dev, demo: Tenant) -> None:
    """Afterwards nothing is shown any more, and the next start asks for the password."""
    page = signed_in(new_visitor(), dev, demo)
    page.click("#playground-sign-out")
    expect(page.locator("#playground-sign-out")).to_be_hidden()
    expect(page.locator("#playground-id-token")).to_be_hidden()
    page.click("#playground-start")
    page.wait_for_selector("#password")
