"""The client's address: the peer's, or what trusted proxies say (X-Forwarded-For, from the right)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Return the address of the client.

    `forwarded`: the X-Forwarded-For header lines in order. Read from the right, as long as the hop before is trusted;
    what stands further left could have been written by anybody.
    """
    if peer is None or not trusted or not _is_trusted(peer, trusted):
        return peer
    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    address = peer
    for hop in reversed(hops[-20:]):
        try:
            ip_address(hop)
        except ValueError:
            return address
        address = hop
        if not _is_trusted(hop, trusted):
            return address
    return address


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)
