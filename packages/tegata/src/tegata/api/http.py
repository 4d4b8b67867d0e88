"""Requests and responses: the little of HTTP that the protocol needs, over ASGI.

Limits stand here, before anything is parsed: a server with httptools accepts a header of 200 kB (pitfalls P123).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from tegata.protocol.errors import OAuthError, invalid_request
from tegata.protocol.parameters import Parameters, parse_form
from tegata.telemetry.audit import Origin

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_HEADER_BYTES = 32_768
MAX_QUERY_BYTES = 24_576
MAX_BODY_BYTES = 65_536
BODY_TIMEOUT_SECONDS = 20.0
_FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, ready to be sent. `headers` are lower-case names and values."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def with_headers(self, *headers: tuple[bytes, bytes]) -> Response:
        """Return the same answer with more headers."""
        return Response(self.status, self.body, (*self.headers, *headers))


@dataclass(slots=True)
class Request:
    """One request. The body is read once, on demand."""

    scope: Scope = field(repr=False)
    receive: Receive = field(repr=False)
    origin: Origin

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    def header(self, name: bytes) -> str | None:
        """Return a header's value. Raises `invalid_request` if it stands twice or is not printable ASCII."""
        found = [value for key, value in self.scope["headers"] if key == name]
        if not found:
            return None
        if len(found) > 1:
            raise invalid_request("a header stands more than once", "header_repeated")
        try:
            text: str = found[0].decode("ascii")
        except UnicodeDecodeError:
            raise invalid_request("a header is not ASCII", "header_malformed") from None
        if not text.isprintable():
            raise invalid_request("a header is not printable", "header_malformed")
        return text

    def headers(self, name: bytes) -> list[str]:
        """Return all values of a header, as Latin-1, for those that may repeat (Cookie, X-Forwarded-For)."""
        return [value.decode("latin-1") for key, value in self.scope["headers"] if key == name]

    def cookie(self, name: str) -> str | None:
        """Return the first cookie of that name."""
        for line in self.headers(b"cookie"):
            for part in line.split(";"):
                key, _, value = part.strip().partition("=")
                if key == name:
                    return value or None
        return None

    def query(self) -> Parameters:
        """Return the query's parameters. Raises `invalid_request`."""
        return parse_form(self.scope["query_string"])

    async def form(self) -> Parameters:
        """Return the parameters of a form-encoded body. Raises `invalid_request`."""
        if not self.has_form():
            raise invalid_request("the body must be application/x-www-form-urlencoded", "content_type")
        return parse_form(await self.body())

    def has_form(self) -> bool:
        """Whether the body says, once, that it is form-encoded."""
        found = [value for key, value in self.scope["headers"] if key == b"content-type"]
        return len(found) == 1 and (found[0] == _FORM or found[0].split(b";", 1)[0].strip().lower() == _FORM)

    async def body(self) -> bytes:
        """Read the body. Raises `OAuthError` with status 413 or 408."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                return await self._read()
        except TimeoutError:
            raise OAuthError("invalid_request", "the body took too long", "body_timeout", status=408) from None

    async def _read(self) -> bytes:
        chunks = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise invalid_request("the client went away", "disconnected")
            chunks += message.get("body", b"")
            if len(chunks) > MAX_BODY_BYTES:
                raise OAuthError("invalid_request", "the body is too large", "body_too_large", status=413)
            if not message.get("more_body"):
                return bytes(chunks)


def check_size(scope: Scope) -> Response | None:
    """Return the refusal of an oversized request line or header block (RFC 9110 §15.5.15, RFC 6585 §5), or None."""
    if len(scope["query_string"]) > MAX_QUERY_BYTES or len(scope.get("raw_path") or b"") > 2048:
        return json_response({"error": "invalid_request", "error_description": "the address is too long"}, 414)
    if sum(len(key) + len(value) for key, value in scope["headers"]) > MAX_HEADER_BYTES:
        return json_response({"error": "invalid_request", "error_description": "the headers are too large"}, 431)
    return None


# Made once: json.dumps with other than its default arguments makes an encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_JSON = (b"content-type", b"application/json")
NO_STORE = (b"cache-control", b"no-store")
_PRAGMA = (b"pragma", b"no-cache")
NOSNIFF = (b"x-content-type-options", b"nosniff")
_JSON_HEADERS = (_JSON, NO_STORE, _PRAGMA, NOSNIFF)


def json_response(document: Mapping[str, Any], status: int = 200) -> Response:
    """Return JSON that no cache may keep (RFC 6749 §5.1)."""
    body = _encode(document).encode()
    return Response(status, body, _JSON_HEADERS)


async def send_response(response: Response, send: Send, *, head: bool) -> None:
    """Send an answer; without its body for HEAD, and without a length where none is allowed (RFC 9110 §8.6)."""
    headers = [*response.headers]
    if response.status not in {204, 304}:
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else response.body})
