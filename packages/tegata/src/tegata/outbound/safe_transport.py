"""An HTTP transport that cannot be led to internal addresses (SSRF, pitfalls P50, P51).

The name is resolved once, every address it has must be public, and the connection goes to the very address that was
checked, so that a second answer of the DNS changes nothing (rebinding). TLS still verifies the name. Redirects are
the caller's business and are never followed by our fetchers; no proxy and no cookie is used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# What `ipaddress` of Python 3.11 takes for global: prefixes that hide an IPv4 address (RFC 6052, RFC 8215), 6to4 relays
# (RFC 7526), site-local addresses (RFC 3879), documentation (RFC 9637).
_FORBIDDEN = tuple(
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "192.88.99.0/24", "fec0::/10", "3fff::/20")
)


class ForbiddenAddress(httpx2.TransportError):
    """The URL leads, or may lead, to an address that outgoing requests must not reach."""


def is_public(address: Address) -> bool:
    """Whether `address` is an ordinary address of the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is not None:
            return is_public(inner)
        if address.sixtofour is not None or address.teredo is not None:
            return False
    if any(address in network for network in _FORBIDDEN):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class SafeTransport(httpx2.AsyncBaseTransport):
    """Checks and pins the address of each request."""

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport | None = None,
        *,
        allow_loopback: bool = False,
        resolve: Resolve | None = None,
    ) -> None:
        self._inner = inner or httpx2.AsyncHTTPTransport(trust_env=False)
        self._allow_loopback = allow_loopback
        self._resolve = resolve or _resolve

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request to a checked address. Raises `ForbiddenAddress`."""
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        address = self._choose(await self._resolve(host, port), https=request.url.scheme == "https")
        pinned = httpx2.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=request.headers,  # the Host header is in here already, with the name
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        return await self._inner.handle_async_request(pinned)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    def _choose(self, texts: Sequence[str], *, https: bool) -> Address:
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
        if not addresses:
            raise ForbiddenAddress("the name has no address")
        if self._allow_loopback and all(address.is_loopback for address in addresses):
            return addresses[0]
        if not https:
            raise ForbiddenAddress("only https is allowed")
        if not all(is_public(address) for address in addresses):
            raise ForbiddenAddress("the name leads to an address that is not public")
        return addresses[0]


async def _resolve(host: str, port: int) -> Sequence[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx2.ConnectError(f"the name cannot be resolved: {error.strerror}") from None
    return [str(entry[4][0]) for entry in found]
