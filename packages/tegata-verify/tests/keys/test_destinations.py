"""Where a discovery document may send us, and where it may not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from tegata_verify.destinations import ForbiddenDestination, GuardedTransport, Kind, classify
from tegata_verify.documents import DocumentFetcher, FetchFailed

pytestmark = pytest.mark.anyio

NAMES = {
    "id.example": ["8.8.8.8"],
    "keys.example": ["8.8.4.4", "2606:4700::1111"],
    "id.corp": ["10.0.0.5"],
    "keys.corp": ["10.9.9.9"],
    "local": ["127.0.0.1"],
    "both": ["8.8.8.8", "10.0.0.1"],
    "metadata": ["169.254.169.254"],
    "nowhere": [],
}


class Reached(httpx2.AsyncBaseTransport):
    """Notes where a request was going; `away` are the addresses that nobody answers at."""

    def __init__(self, away=()) -> None:
        self.requests: list[httpx2.Request] = []
        self.away = away

    async def handle_async_request(self, request):
        self.requests.append(request)
        if request.url.host in self.away:
            raise httpx2.ConnectError("nobody is there")
        return httpx2.Response(200)


async def reach(host, vouching_host, away=()):
    inner, asked = Reached(away), []

    async def resolve(name):
        asked.append(name)
        return NAMES.get(name, [name])

    guarded = GuardedTransport(inner, vouching_host, resolve=resolve)
    async with httpx2.AsyncClient(transport=guarded) as client:
        await client.get(f"https://{host}/jwks")
    assert asked.count(host.strip("[]")) == 1, "a second answer of the DNS could be another"
    return inner.requests[-1]


@pytest.mark.parametrize(
    ("host", "vouching_host"), [("keys.example", "id.example"), ("keys.example", "id.corp"), ("keys.corp", "id.corp")]
)
async def test_an_address_that_was_looked_at_is_the_one_that_is_reached(host, vouching_host):
    request = await reach(host, vouching_host)
    assert request.url.host == NAMES[host][0]
    assert request.headers["host"] == host
    assert request.extensions["sni_hostname"] == host


async def test_where_one_address_is_out_of_reach_the_next_is_asked():
    request = await reach("keys.example", "id.example", away=["8.8.4.4"])
    assert request.url.host == "2606:4700::1111"
    assert (request.headers["host"], request.extensions["sni_hostname"]) == ("keys.example", "keys.example")
    with pytest.raises(httpx2.ConnectError):
        await reach("keys.example", "id.example", away=NAMES["keys.example"])


@pytest.mark.parametrize(
    ("host", "vouching_host"),
    [
        ("keys.corp", "id.example"),
        ("local", "id.example"),
        ("local", "id.corp"),
        ("both", "id.example"),
        ("metadata", "id.corp"),
        ("metadata", "metadata"),
        ("nowhere", "id.example"),
        ("127.0.0.1", "id.example"),
        ("[::1]", "id.example"),
        ("[::ffff:10.0.0.1]", "id.example"),
        ("10.0.0.1", "id.example"),
    ],
)
async def test_an_address_less_public_than_the_issuers_is_not_reached(host, vouching_host):
    with pytest.raises(ForbiddenDestination):
        await reach(host, vouching_host)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", Kind.PUBLIC),
        ("2606:4700::1111", Kind.PUBLIC),
        ("172.31.0.1", Kind.PRIVATE),
        ("100.64.0.1", Kind.PRIVATE),
        ("fd00::1", Kind.PRIVATE),
        ("127.9.9.9", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("::ffff:127.0.0.1", Kind.LOOPBACK),
        ("0.0.0.0", Kind.FORBIDDEN),
        ("fe80::1%eth0", Kind.FORBIDDEN),
        ("224.0.0.1", Kind.FORBIDDEN),
        ("64:ff9b::7f00:1", Kind.FORBIDDEN),
        ("2002:7f00:1::", Kind.FORBIDDEN),
        ("192.0.2.1", Kind.FORBIDDEN),
    ],
)
def test_addresses_are_told_apart(address, kind):
    assert classify(address) == kind


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "localhost"])
async def test_however_loopback_is_spelled_a_public_issuer_cannot_send_us_there(host, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FetchFailed, match="not public"):
        await DocumentFetcher(timeout_seconds=60).fetch(f"https://{host}:1/jwks", named_by="https://8.8.8.8/metadata")


@pytest.fixture
def proxy(monkeypatch) -> Iterator[list[str]]:
    """A proxy that the environment names; the first line of each request that it was sent. It connects to nobody."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.requestline)
            self.send_error(502)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    for name in ("https_proxy", "ALL_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield asked
        server.shutdown()


async def test_a_proxy_of_the_environment_decides_where_it_leads(proxy):
    with pytest.raises(FetchFailed, match="ProxyError"):
        await DocumentFetcher(timeout_seconds=60).fetch(
            "https://10.0.0.5:8443/jwks", named_by="https://8.8.8.8/metadata"
        )
    assert proxy == ["CONNECT 10.0.0.5:8443 HTTP/1.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_no_proxy_is_asked_for_loopback_so_that_is_looked_at(proxy, host):
    with pytest.raises(FetchFailed, match="not public"):
        await DocumentFetcher(timeout_seconds=60).fetch(f"https://{host}:1/jwks", named_by="https://8.8.8.8/metadata")
    assert not proxy


@pytest.mark.parametrize("without", ["10.0.0.5:8443", "10.0.0.5", "*"])
async def test_what_is_not_for_the_proxy_is_looked_at(proxy, monkeypatch, without):
    monkeypatch.setenv("NO_PROXY", without)
    with pytest.raises(FetchFailed, match="not public"):
        await DocumentFetcher(timeout_seconds=60).fetch(
            "https://10.0.0.5:8443/jwks", named_by="https://8.8.8.8/metadata"
        )
    assert not proxy


async def test_what_is_configured_or_on_the_issuers_host_is_asked_as_it_is():
    for named_by in (None, "https://127.0.0.1/metadata"):
        with pytest.raises(FetchFailed, match="Connect"):
            await DocumentFetcher(timeout_seconds=60).fetch("https://127.0.0.1:1/jwks", named_by=named_by)
