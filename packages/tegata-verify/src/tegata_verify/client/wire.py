"""Speaks with an authorization server: one bounded request at a time, never redirected, never over plain http."""

from __future__ import annotations

import asyncio
import email.utils
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import httpx2

from tegata_verify.client.errors import Obstacle, TokenUnavailable
from tegata_verify.destinations import ForbiddenDestination
from tegata_verify.outgoing import Outgoing
from tegata_verify.strict_json import MalformedJson, parse_json_object

SyncTransportFactory = Callable[[], httpx2.BaseTransport]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; the body may hold a token."""

    status: int
    headers: httpx2.Headers
    body: bytes = field(repr=False)

    def document(self) -> Mapping[str, Any]:
        """Return the JSON object of the body. Raises `TokenUnavailable`."""
        try:
            return parse_json_object(self.body)
        except MalformedJson:
            pass  # the error's text may repeat the body
        raise TokenUnavailable(Obstacle.BAD_ANSWER, f"status {self.status} without a JSON object")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `named_by` is the document that named the address, None for one that was configured."""

    method: str
    url: str
    tls: ssl.SSLContext | None
    named_by: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = field(default=None, repr=False)


class Wire:
    """Makes requests, each in an event loop of its own: the thread that calls has none, and waits for the answer.

    So the rules of where to go and for how long are those by which keys are fetched (`tegata_verify.outgoing`).
    `transport` is for proxies of your own and for tests; `tls` is the TLS context, None for the usual one.
    """

    def __init__(
        self,
        *,
        transport: SyncTransportFactory | None,
        timeout_seconds: float,
        max_bytes: int,
        allow_loopback_http: bool = False,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._outgoing = Outgoing(
            transport=None if transport is None else lambda: _Sync(transport()),
            timeout_seconds=timeout_seconds,
            allow_loopback_http=allow_loopback_http,
        )

    def get(self, url: str, tls: ssl.SSLContext | None) -> Answer:
        """Fetch a document. Raises `TokenUnavailable`."""
        return self._send(Request("GET", url, tls))

    def post(self, request: Request, fields: list[tuple[str, str]]) -> Answer:
        """Send a form. Raises `TokenUnavailable`."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        headers = {**request.headers, **form}
        return self._send(replace(request, headers=headers, content=urlencode(fields).encode()))

    def _send(self, request: Request) -> Answer:
        # Errors leave here as values without a context: the client's own exceptions hold the request, and with it the
        # client's credentials.
        try:
            return asyncio.run(self._exchange(request))
        except (TimeoutError, httpx2.TimeoutException):
            trouble = TokenUnavailable(Obstacle.TIMEOUT, f"no answer within {self._timeout_seconds:g} s")
        except ForbiddenDestination as error:
            trouble = TokenUnavailable(Obstacle.BAD_ANSWER, str(error))
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            trouble = TokenUnavailable(Obstacle.UNAVAILABLE, type(error).__name__)
        except (httpx2.InvalidURL, ValueError) as error:
            trouble = TokenUnavailable(Obstacle.NOT_CONFIGURED, type(error).__name__)
        raise trouble

    async def _exchange(self, request: Request) -> Answer:
        # Compressed answers could unfold far beyond the size cap.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **request.headers}
        # The client's timeouts start again with each byte; this one bounds the whole exchange.
        async with asyncio.timeout(self._timeout_seconds):
            client = await self._outgoing.client(request.url, named_by=request.named_by, tls=request.tls)
            async with (
                client,
                client.stream(request.method, request.url, headers=headers, content=request.content) as response,
            ):
                return Answer(response.status_code, response.headers, await self._read(response))

    async def _read(self, response: httpx2.Response) -> bytes:
        if response.status_code == 429 or response.status_code >= 500:
            return b""  # a page of somebody in between, in whatever form: the status and Retry-After say it all
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise TokenUnavailable(Obstacle.BAD_ANSWER, "a compressed answer")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._max_bytes:
                raise TokenUnavailable(Obstacle.BAD_ANSWER, f"more than {self._max_bytes} bytes")
        return bytes(body)


class _Sync(httpx2.AsyncBaseTransport):
    """A transport that blocks, in the place of one that does not: nothing else runs in the loop that it stops."""

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        response = self._inner.handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _SyncChunks(response.stream)
        return response

    async def aclose(self) -> None:
        self._inner.close()


class _SyncChunks(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._inner:
            yield chunk
            await asyncio.sleep(0)  # where a timeout may end it

    async def aclose(self) -> None:
        self._inner.close()


def find_retry_after(headers: httpx2.Headers, now: float) -> float | None:
    """Return for how many seconds the server does not want to be asked. RFC 9110 §10.2.3."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
