"""Where the kit may be sent by a document that it has fetched (SSRF; OWASP "Server-Side Request Forgery Prevention").

Addresses that an operator wrote down are asked as they are. One that a discovery document names on another host must
be public: every address its name has is looked at, and the connection goes to an address that was looked at, so that
a second answer of the DNS changes nothing (rebinding). It may be private, or on this machine, only if the issuer's own
host is that too. TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum

import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]


class Kind(StrEnum):
    """Whose network an address is in."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    FORBIDDEN = "forbidden"


# Prefixes that hide an IPv4 address or lead to relays: RFC 6052, RFC 8215, RFC 3056, RFC 4380, RFC 7526.
_RELAYS = tuple(
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "192.88.99.0/24", "fec0::/10")
)
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


class ForbiddenDestination(httpx2.TransportError):
    """A document named an address that it must not send us to."""


def classify(text: str) -> Kind:
    """Return whose network an IP address is in; link-local ones, where clouds keep credentials, are forbidden.

    >>> [classify(text).value for text in ("8.8.8.8", "10.1.2.3", "::ffff:127.0.0.1", "169.254.169.254")]
    ['public', 'private', 'loopback', 'forbidden']
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return Kind.LOOPBACK
    if any(address in network for network in _PRIVATE):
        return Kind.PRIVATE
    if any(address in network for network in _RELAYS) or address.is_multicast or address.is_reserved:
        return Kind.FORBIDDEN
    return Kind.PUBLIC if address.is_global else Kind.FORBIDDEN


async def resolve(host: str) -> Sequence[str]:
    """Return each address of a host; a literal address, however it is spelled, is its own. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends a request only to public addresses, or to such as `vouching_host` has itself."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, vouching_host: str, *, resolve: Resolve = resolve) -> None:
        self._inner = inner
        self._vouching_host = vouching_host
        self._resolve = resolve

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request to an address that was looked at. Raises `ForbiddenDestination`."""
        *others, last = await self._choose(request.url.host)
        for address in others:
            # Nothing has been sent where there was no connection: a host may have an address that is out of reach.
            with suppress(httpx2.ConnectError):
                return await self._inner.handle_async_request(_pin(request, address))
        return await self._inner.handle_async_request(_pin(request, last))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _choose(self, host: str) -> Sequence[str]:
        addresses = [text.partition("%")[0] for text in await self._resolve(host)]
        kinds = set(map(classify, addresses))
        if kinds != {Kind.PUBLIC}:
            allowed = {Kind.PUBLIC} | set(map(classify, await self._resolve(self._vouching_host)))
            if not kinds or not kinds <= allowed - {Kind.FORBIDDEN}:
                raise ForbiddenDestination("the document names a host with an address that is not public")
        return addresses


def _pin(request: httpx2.Request, address: str) -> httpx2.Request:
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,  # the Host header is in here already, with the name
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
