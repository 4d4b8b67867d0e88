"""Makes the HTTP clients that ask issuers: never redirected, and kept from where a document must not send them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from tegata_verify.destinations import GuardedTransport
from tegata_verify.issuers import is_loopback

TransportFactory = Callable[[], httpx2.AsyncBaseTransport]


class Outgoing:
    """Makes a client for each request, and keeps nothing but the TLS context.

    Requests are minutes apart, so a kept connection would be closed by then, and nothing has to be shut down nor is
    bound to an event loop. `transport` is for proxies of your own and for tests: it decides itself where it goes.

    >>> async def ask() -> bool:
    ...     async with await Outgoing(timeout_seconds=5).client("https://id.example.com/token") as client:
    ...         return client.follow_redirects
    >>> asyncio.run(ask())
    False
    """

    def __init__(
        self,
        *,
        transport: TransportFactory | None = None,
        timeout_seconds: float,
        allow_loopback_http: bool = False,
    ) -> None:
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._allow_loopback_http = allow_loopback_http
        self.tls: ssl.SSLContext | None = None

    async def client(
        self, url: str, *, named_by: str | None = None, tls: ssl.SSLContext | None = None
    ) -> httpx2.AsyncClient:
        """Return a client for one request to `url`, with `tls` in place of the usual context.

        `named_by` is the address of the document that `url` was read from, if nobody configured it: then another host
        must be as public as that one (`tegata_verify.destinations`).
        """
        if self._transport is not None:
            return httpx2.AsyncClient(transport=self._transport(), follow_redirects=False, trust_env=False)
        parts = urlsplit(url)
        context = tls or await self._usual_context(parts)
        naming_host = self._find_naming_host(parts, named_by)
        if naming_host is not None:
            # Said, not left to the client's own reading of the environment: what is not guarded must go to the proxy.
            proxy = _find_proxy(parts)
            if proxy is not None:
                return httpx2.AsyncClient(
                    proxy=proxy, verify=context, follow_redirects=False, timeout=self._timeout_seconds, trust_env=False
                )
            guarded = GuardedTransport(httpx2.AsyncHTTPTransport(verify=context, trust_env=False), naming_host)
            return httpx2.AsyncClient(
                transport=guarded, follow_redirects=False, timeout=self._timeout_seconds, trust_env=False
            )
        return httpx2.AsyncClient(
            verify=context,
            follow_redirects=False,
            timeout=self._timeout_seconds,
            trust_env=not is_loopback(parts),  # an outgoing proxy knows nothing of this machine's loopback
        )

    async def _usual_context(self, parts: SplitResult) -> ssl.SSLContext:
        if parts.scheme != "https":
            # Without any certificates it costs nothing, and would refuse every server.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.tls is None:
            # Reading the certificate store takes tens of milliseconds: not on the event loop.
            self.tls = await asyncio.to_thread(httpx2.create_ssl_context)
        return self.tls

    def _find_naming_host(self, parts: SplitResult, named_by: str | None) -> str | None:
        """Return the host whose document named this address, None where it is as good as a configured one."""
        host, naming_host = parts.hostname, urlsplit(named_by or "").hostname
        if not host or not naming_host or host == naming_host:
            return None
        if self._allow_loopback_http and is_loopback(parts):
            return None
        return naming_host


def _find_proxy(parts: SplitResult) -> str | None:
    """Return the environment's proxy, if it makes the connection: then it decides where that may lead.

    Never for loopback, nor for what `NO_PROXY` names with or without its port: that would be this machine's own reach.
    """
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or is_loopback(parts) or proxy_bypass(f"{parts.hostname}:{parts.port or 443}"):
        return None
    return found if "://" in found else f"http://{found}"
