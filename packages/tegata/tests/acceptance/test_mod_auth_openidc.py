"""Debian's libapache2-mod-auth-openidc protects a page, and Tegata signs its visitors in and out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import httpx2
import pytest

from . import apache
from .contract import Dev, Tenant, User
from .pages import Page
from .relying_party import Browser, Landing, RelyingParty

pytestmark = pytest.mark.foreign


class Elsewhere(httpx2.BaseTransport):
    """Reaches the registered address of the relying party on the port Apache really has.

    The Host header stays, so that neither side knows, and tests may run at the same time.
    """

    def __init__(self, registered: str, port: int) -> None:
        self.registered, self.port, self.real = registered, port, httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.netloc.decode() != self.registered:
            return self.real.handle_request(request)
        # A request of its own: cookies are kept for the address the browser believes in.
        url = request.url.copy_with(host="127.0.0.1", port=self.port)
        return self.real.handle_request(
            httpx2.Request(request.method, url, headers=request.headers, stream=request.stream)
        )

    def close(self) -> None:
        self.real.close()


class Visitor:
    """A browser that is at home at both sides."""

    def __init__(self, dev: Dev, redirect_uri: str, port: int) -> None:
        self.site = "http://" + urlsplit(redirect_uri).netloc
        self.browser = Browser(dev.base_url)
        self.browser.http.close()
        self.browser.http = httpx2.Client(transport=Elsewhere(urlsplit(redirect_uri).netloc, port), timeout=60)

    def go(self, path: str, user: User) -> httpx2.Response:
        """Open a page of the site and do everything both sides ask."""
        answer = self.browser.http.get(self.site + path, follow_redirects=False)
        for _ in range(8):
            if not answer.is_redirect:
                return answer
            target = urljoin(self.site + path, answer.headers["location"])
            if target.startswith(self.site):
                answer = self.browser.http.get(target, follow_redirects=False)
                continue
            landing = self.through(target, user)
            if landing.mode == "form_post":
                answer = self.browser.http.post(landing.url, data=landing.params, follow_redirects=False)
            else:
                answer = self.browser.http.get(landing.url, follow_redirects=False)
        raise AssertionError(f"redirects without end, at last to {answer.headers['location']}")

    def through(self, target: str, user: User) -> Landing:
        shown = self.browser.visit(target)
        if isinstance(shown, Page) and shown.form_with(button="logout-approve"):
            shown = self.browser.press(shown, "logout-approve")
        return self.browser.carry_on(shown, user)


@pytest.fixture(params=["query", "form_post"])
def site(request: pytest.FixtureRequest, dev: Dev, demo: Tenant) -> Iterator[tuple[Visitor, Path]]:
    client = demo.client("web")
    # The other spelling of loopback than the server's own, so that the two hosts' cookies stay apart.
    ours = urlsplit(dev.base_url).hostname
    redirect_uri = next(uri for uri in client.redirect_uris if urlsplit(uri).hostname != ours)
    with apache.relying_party(demo, client, redirect_uri, request.param) as (port, log):
        visitor = Visitor(dev, redirect_uri, port)
        yield visitor, log
        visitor.browser.close()


def test_protected_page_knows_who_signed_in(site: tuple[Visitor, Path], user: User) -> None:
    visitor, log = site
    answer = visitor.go("/", user)
    assert answer.status_code == 200, log.read_text()[-2000:]
    assert "protected" in answer.text
    assert visitor.browser.trail[0] == "sign-in"
    assert answer.headers["x-remote-user"].startswith(answer.headers["x-claim-sub"])
    assert "@" in answer.headers["x-claim-email"]


def test_signing_out_at_the_site_signs_out_at_the_server(
    site: tuple[Visitor, Path], user: User, web: RelyingParty
) -> None:
    visitor, log = site
    visitor.go("/", user)
    wanted = next(uri for uri in web.client.post_logout_redirect_uris if uri.startswith(visitor.site))
    first = visitor.browser.http.get(f"{visitor.site}/callback?logout={quote(wanted, safe='')}", follow_redirects=False)
    assert first.status_code == 302, log.read_text()[-2000:]
    assert first.headers["location"].startswith(web.endpoint("end_session"))
    landing = visitor.through(first.headers["location"], user)
    assert landing.url.split("?")[0] == wanted
    answer = visitor.browser.visit(web.attempt(prompt="none").url)
    assert isinstance(answer, Landing)
    assert answer.params["error"] == "login_required"
    visitor.browser.trail.clear()
    assert visitor.go("/", user).status_code == 200
    assert visitor.browser.trail[0] == "sign-in"
