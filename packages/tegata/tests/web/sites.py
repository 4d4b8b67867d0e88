"""Servers on origins of their own, and a Chromium to visit them."""

from __future__ import annotations

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
from tegata.web.locales import load_catalogues
from tegata.web.rendering import Renderer, build_page_headers

# Five seconds otherwise, which a busy machine may take for a page.
PATIENCE_MILLISECONDS = 60_000
expect.set_options(timeout=PATIENCE_MILLISECONDS)
CHROMIUM_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


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
        browser = playwright.chromium.launch(
            executable_path=path, args=CHROMIUM_ARGUMENTS.split(), timeout=PATIENCE_MILLISECONDS
        )
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
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints
