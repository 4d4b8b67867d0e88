"""The client's address: the peer's, or what trusted proxies say (X-Forwarded-For, from the right)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d{1,5})?|([^:]+):\d{1,5}", re.ASCII)


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Return the address of the client.

    `forwarded`: the X-Forwarded-For header lines in order. Read from the right, as long as the hop before is trusted;
    what stands further left could have been written by anybody.
    """
    if peer is None or not _is_trusted(_parse(peer), trusted):
        return peer
    hops = [hop for line in forwarded for hop in line.split(",")]
    address = peer
    for hop in reversed(hops[-20:]):
        parsed = _parse(hop.strip())
        if parsed is None:
            return address
        address = str(parsed)
        if not _is_trusted(parsed, trusted):
            return address
    return address


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether a peer's address, as the server names it, lies in one of the networks."""
    return _is_trusted(_parse(address), networks)


def _parse(text: str) -> Address | None:
    """Read an address, with or without a port (Azure Application Gateway writes one).

    ::ffff:192.0.2.1 is the IPv4 address, as which networks and buckets know it.
    """
    found = _WITH_PORT.fullmatch(text)
    try:
        parsed = ip_address(found[1] or found[2] if found is not None else text)
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def _is_trusted(address: Address | None, trusted: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in trusted)
