"""Speaks with an authorization server: one bounded request at a time, never redirected, never over plain http."""

from __future__ import annotations

import email.utils
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2

from tegata_verify.client.errors import Obstacle, TokenUnavailable
from tegata_verify.issuers import is_loopback
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


class Wire:
    """Makes requests. A client lives for one of them: they are minutes apart, and nothing has to be closed then.

    `transport` is for proxies of your own and for tests; `tls` is the TLS context, None for the usual one.
    """

    def __init__(self, *, transport: SyncTransportFactory | None, timeout_seconds: float, max_bytes: int) -> None:
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._default_tls: ssl.SSLContext | None = None

    def get(self, url: str, tls: ssl.SSLContext | None) -> Answer:
        """Fetch a document. Raises `TokenUnavailable`."""
        return self._send("GET", url, tls, {}, None)

    def post(
        self, url: str, tls: ssl.SSLContext | None, fields: list[tuple[str, str]], headers: Mapping[str, str]
    ) -> Answer:
        """Send a form. Raises `TokenUnavailable`."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", url, tls, {**headers, **form}, urlencode(fields).encode())

    def _send(
        self, method: str, url: str, tls: ssl.SSLContext | None, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        # Compressed answers could unfold far beyond the size cap. Errors leave here as values without a context: the
        # client's own exceptions hold the request, and with it the client's credentials.
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        try:
            with (
                self._client(url, tls) as client,
                client.stream(method, url, headers=sent, content=content) as response,
            ):
                return Answer(response.status_code, response.headers, self._read(response))
        except httpx2.TimeoutException:
            trouble = TokenUnavailable(Obstacle.TIMEOUT, f"no answer within {self._timeout_seconds:g} s")
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            trouble = TokenUnavailable(Obstacle.UNAVAILABLE, type(error).__name__)
        except (httpx2.InvalidURL, ValueError) as error:
            trouble = TokenUnavailable(Obstacle.NOT_CONFIGURED, type(error).__name__)
        raise trouble

    def _read(self, response: httpx2.Response) -> bytes:
        # The client's timeouts start again with each byte; this one bounds the whole answer.
        until = time.monotonic() + self._timeout_seconds
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise TokenUnavailable(Obstacle.BAD_ANSWER, f"more than {self._max_bytes} bytes")
            if time.monotonic() > until:
                raise TokenUnavailable(Obstacle.TIMEOUT, f"no answer within {self._timeout_seconds:g} s")
        return bytes(body)

    def _client(self, url: str, tls: ssl.SSLContext | None) -> httpx2.Client:
        if self._transport is not None:
            return httpx2.Client(transport=self._transport(), trust_env=False)
        parts = urlsplit(url)
        return httpx2.Client(
            verify=self._context(parts.scheme, tls),
            follow_redirects=False,
            timeout=self._timeout_seconds,
            trust_env=not is_loopback(parts),  # an outgoing proxy knows nothing of this machine's loopback
        )

    def _context(self, scheme: str, tls: ssl.SSLContext | None) -> ssl.SSLContext:
        if tls is not None:
            return tls
        if scheme != "https":
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without certificates: it would refuse every server
        if self._default_tls is None:
            self._default_tls = httpx2.create_ssl_context()
        return self._default_tls


def find_retry_after(headers: httpx2.Headers, now: float) -> float | None:
    """Return for how many seconds the server does not want to be asked. RFC 9110 §10.2.3."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
