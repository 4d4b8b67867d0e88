"""Fetches an issuer's small JSON documents: bounded in size and time, never redirected, never from plain http."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from tegata_verify.issuers import check_url
from tegata_verify.outgoing import Outgoing, TransportFactory
from tegata_verify.strict_json import MalformedJson, parse_json_object

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
    """Makes one HTTP request at a time, with a client for each of them."""

    def __init__(
        self,
        *,
        transport: TransportFactory | None = None,
        timeout_seconds: float = 5,
        max_bytes: int = 256 * 1024,
        allow_loopback_http: bool = False,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._allow_loopback_http = allow_loopback_http
        self._outgoing = Outgoing(
            transport=transport, timeout_seconds=timeout_seconds, allow_loopback_http=allow_loopback_http
        )

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
        client = await self._outgoing.client(url, named_by=named_by)
        async with client, client.stream("GET", url, headers=headers) as response:
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
