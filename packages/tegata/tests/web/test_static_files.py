"""Static files: found at their one address, kept for ever, and nothing else is."""

from __future__ import annotations

import re

import pytest

from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import Server, serving

pytestmark = pytest.mark.anyio


async def test_whatever_a_page_asks_for_is_there() -> None:
    async with serving() as server:
        page = await Browser(server).get(RelyingParty(server).url(response_mode="form_post", prompt="none"))
        found = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        assert len(found) >= 3
        for path in found:
            reply = await server.request("GET", path)
            assert reply.status == 200
            assert reply.header("cache-control") == "public, max-age=31536000, immutable"
            assert reply.header("x-content-type-options") == "nosniff"
            assert reply.all("set-cookie") == []
            head = await server.request("HEAD", path)
            assert (head.status, head.body) == (200, b"")
            assert head.header("content-length") == reply.header("content-length")


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/tegata.css",
        "/static/nothing.0123456789abcdef.css",
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static//etc/passwd",
        "/static/tegata.css%00",
    ],
)
async def test_nothing_else_is_served(path: str) -> None:
    async with serving() as server:
        assert (await server.request("GET", server.base_url + path)).status == 404


async def test_static_files_are_read_only() -> None:
    async with serving() as server:
        assert await methods_refused(server) == {"POST": 405, "PUT": 405, "DELETE": 405}


async def methods_refused(server: Server) -> dict[str, int]:
    """Return the status of each writing method."""
    return {method: (await server.request(method, "/static/x")).status for method in ("POST", "PUT", "DELETE")}
