"""Debian's Chromium, driven by Playwright, with a client's callback address it can really reach."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect, sync_playwright

from .contract import User
from .node import missing

EXECUTABLE = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MILLISECONDS = 60_000
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}


class Callback(BaseHTTPRequestHandler):
    """The client's side: says it was reached, and shows what was posted."""

    def do_GET(self) -> None:
        self._say("")

    def do_POST(self) -> None:
        self._say(self.rfile.read(int(self.headers.get("content-length", "0"))).decode())

    def _say(self, posted: str) -> None:
        body = f"<!doctype html><title>landed</title><link rel=icon href='data:,'><p id=posted>{posted}</p>".encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def callback_server() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Callback)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(slots=True)
class Visitor:
    """One person at one screen, and everything the browser complained about meanwhile."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    may_be_refused: bool = False  # a browser logs every answer above 399; that may be what it is to get

    def watch(self, page: Page) -> Page:
        page.on("console", lambda line: self._said(line.type, line.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        # Playwright writes on what it is given, and this class has no room for it: hence the lambda.
        page.on("response", lambda answer: self._answered(answer))
        return page

    def _said(self, kind: str, text: str) -> None:
        is_refusal = self.may_be_refused and "Failed to load resource" in text
        if kind in {"error", "warning"} and not is_refusal:
            self.complaints.append(text)

    def _answered(self, answer: Response) -> None:
        if answer.status >= 500:
            self.complaints.append(f"{answer.status} {answer.url}")

    def sign_in(self, user: User, page: Page | None = None) -> None:
        page = page or self.page
        page.fill("#username", user.username)
        page.fill("#password", user.password)
        page.click("#login-submit")

    def landed(self, page: Page | None = None) -> dict[str, str]:
        """Wait for the client's callback, and give the parameters it got, by query or by post."""
        page = page or self.page
        page.wait_for_url("**/callback*")
        query = dict(parse_qsl(urlsplit(page.url).query, keep_blank_values=True))
        return query or dict(parse_qsl(page.inner_text("#posted"), keep_blank_values=True))

    def consent_if_asked(self, page: Page | None = None) -> None:
        page = page or self.page
        page.wait_for_selector("#consent-approve, #posted", state="attached")
        if page.query_selector("#consent-approve"):
            page.click("#consent-approve")

    def overflow(self) -> int:
        """By how many pixels the page is wider than the screen."""
        width = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
        return int(self.page.evaluate(f"{width} - document.documentElement.clientWidth"))


NewVisitor = Callable[..., Visitor]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module: Playwright's event loop must not outlive it, other tests have loops of their own."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    if shutil.which(EXECUTABLE) is None:
        missing("Debian package chromium")
    with ExitStack() as stack:
        port = stack.enter_context(callback_server())
        # The registered callback address, at the port that is really free.
        rules = ", ".join(f"MAP {host}:9000 127.0.0.1:{port}" for host in ("localhost", "127.0.0.1"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=EXECUTABLE, args=[*QUIET, f"--host-resolver-rules={rules}"]
        )
        stack.callback(browser.close)
        yield browser


@pytest.fixture
def new_visitor(chromium: Browser) -> Iterator[NewVisitor]:
    """Makes visitors: `new_visitor(locale="ja-JP", viewport=PHONE, java_script_enabled=False)`."""
    made: list[Visitor] = []

    def make(**options: Any) -> Visitor:
        context = chromium.new_context(**({"viewport": DESKTOP, "locale": "en-US"} | options))
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        visitor = Visitor(context, context.new_page())
        visitor.watch(visitor.page)
        made.append(visitor)
        return visitor

    yield make
    complaints = [complaint for visitor in made for complaint in visitor.complaints]
    for visitor in made:
        visitor.context.close()
    # Violations of the content security policy are reported here too.
    assert complaints == []
