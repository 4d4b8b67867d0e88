"""Fetches an issuer's small JSON documents: bounded in size and time, never redirected, never from plain http."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from tegata_verify.destinations import GuardedTransport
from tegata_verify.issuers import check_url, is_loopback
from tegata_verify.strict_json import MalformedJson, parse_json_object

TransportFactory = Callable[[], httpx2.AsyncBaseTransport]

_MAX_AGE = re.compile(r"max-age=\"?(\d{1,10})", re.IGNORECASE)
_NOT_KEPT = re.compile(r"\b(?:no-store|no-cache)\b", re.IGNORECASE)


class FetchFailed(Exception):
    """The document could not be had; the text says why, for logs. `status` is the answer's, where there was one."""

    def __init__(self, text: str, *, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Body:
    """An answer as it came. `content` is None when our copy is still good (304)."""

    content: bytes | None
    etag: str | None
    max_age_seconds: int | None


@dataclass(frozen=True, slots=True)
class Document:
    """What the issuer answered. `content` is None when our copy is still good (304)."""

    content: Mapping[str, Any] | None
    etag: str | None
    max_age_seconds: int | None


class DocumentFetcher:
    """Makes one HTTP request at a time and keeps nothing but the TLS context.

    A client lives for one fetch: fetches are minutes apart, so a kept connection would be closed by then, and nothing
    has to be shut down nor is bound to an event loop.
    """

    def __init__(
        self,
        *,
        transport: TransportFactory | None = None,
        timeout_seconds: float = 5,
        max_bytes: int = 256 * 1024,
        allow_loopback_http: bool = False,
    ) -> None:
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._allow_loopback_http = allow_loopback_http
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, url: str, *, etag: str | None = None, named_by: str | None = None) -> Document:
        """Return the JSON object at `url`. Raises `FetchFailed` for whatever else happens.

        `named_by` is the address of the document that `url` was read from, if nobody configured it: then another host
        must be as public as that one (`tegata_verify.destinations`).
        """
        body = await self.fetch_body(url, etag=etag, accept="application/json", named_by=named_by)
        if body.content is None:
            return Document(None, body.etag, body.max_age_seconds)
        try:
            return Document(parse_json_object(body.content), body.etag, body.max_age_seconds)
        except MalformedJson as error:
            raise FetchFailed(str(error)) from error

    async def fetch_body(
        self, url: str, *, etag: str | None = None, accept: str = "*/*", named_by: str | None = None
    ) -> Body:
        """Return what is at `url`, of any type. Raises `FetchFailed` for whatever else happens."""
        try:
            check_url(url, allow_loopback_http=self._allow_loopback_http, what="document")
            # httpx's timeouts start again with each byte; this one bounds the whole exchange.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._exchange(url, etag, accept, named_by)
        except TimeoutError as error:
            raise FetchFailed(f"no answer within {self._timeout_seconds} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
            raise FetchFailed(f"{type(error).__name__}: {error}") from error

    async def _exchange(self, url: str, etag: str | None, accept: str, named_by: str | None) -> Body:
        # Compressed answers could unfold far beyond the size cap, so none is asked for and none accepted.
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if etag is not None:
            headers["If-None-Match"] = etag
        async with await self._client(url, named_by) as client, client.stream("GET", url, headers=headers) as response:
            max_age = find_max_age(response.headers)
            if response.status_code == 304 and etag is not None:
                return Body(None, etag, max_age)
            if response.status_code != 200:
                raise FetchFailed(f"status {response.status_code}", status=response.status_code)
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise FetchFailed("a compressed answer")
            return Body(await self._read(response), response.headers.get("etag"), max_age)

    async def _read(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._max_bytes:
                raise FetchFailed(f"more than {self._max_bytes} bytes")
        return bytes(body)

    async def _client(self, url: str, named_by: str | None) -> httpx2.AsyncClient:
        if self._transport is not None:
            return httpx2.AsyncClient(transport=self._transport(), follow_redirects=False, trust_env=False)
        parts = urlsplit(url)
        if parts.scheme == "https" and self._tls is None:
            # Reading the certificate store takes tens of milliseconds: not on the event loop.
            self._tls = await asyncio.to_thread(httpx2.create_ssl_context)
        # Plain http needs no certificates; a context without any costs nothing and would refuse every server.
        tls = self._tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        guarded = self.guard(parts, named_by, tls)
        if guarded is not None:
            return httpx2.AsyncClient(
                transport=guarded, follow_redirects=False, timeout=self._timeout_seconds, trust_env=False
            )
        return httpx2.AsyncClient(
            verify=tls,
            follow_redirects=False,
            timeout=self._timeout_seconds,
            trust_env=not is_loopback(parts),  # an outgoing proxy knows nothing of this machine's loopback
        )

    def guard(self, parts: SplitResult, named_by: str | None, tls: ssl.SSLContext) -> GuardedTransport | None:
        """Return a transport that looks where it goes, None where the address is as good as a configured one."""
        host, naming_host = parts.hostname, urlsplit(named_by or "").hostname
        if not host or not naming_host or host == naming_host:
            return None
        if self._allow_loopback_http and is_loopback(parts):
            return None
        if not proxy_bypass(host) and getproxies().keys() & {"https", "all"}:
            return None  # the environment's proxy makes the connection, and decides where it may lead
        return GuardedTransport(httpx2.AsyncHTTPTransport(verify=tls, trust_env=False), naming_host)


def find_max_age(headers: httpx2.Headers) -> int | None:
    """Return for how many seconds an answer may be kept, if it says so. RFC 9111 §4.2.1, §4.2.3."""
    cache_control = headers.get("cache-control", "")
    if _NOT_KEPT.search(cache_control):
        return 0
    found = _MAX_AGE.search(cache_control)
    if found is None:
        return None
    age = headers.get("age", "0")
    return max(0, int(found[1]) - (int(age[:10]) if age.isascii() and age.isdigit() else 0))
