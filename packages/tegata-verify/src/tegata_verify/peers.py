"""Tells the connections of one's own proxies from those of strangers, by the address of the last hop."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def parse_networks(networks: Iterable[str | Network]) -> frozenset[Network]:
    """Return networks, each written as an address or as `10.0.16.0/20`.

    Raises `ValueError` for what is none, for no network at all and for the whole internet: whoever may set the headers
    of a proxy may be anybody.
    """
    if isinstance(networks, str):
        networks = (networks,)
    found = frozenset(map(ip_network, networks))
    if not found or any(network.prefixlen == 0 for network in found):
        raise ValueError("trusted_peers: name the networks of your proxies; the whole internet is nobody's proxy")
    return found


def is_peer_of(networks: Collection[Network], peer: str | None) -> bool:
    """Tell whether a connection from `peer` comes from one of `networks`. False for what is no IP address.

    >>> is_peer_of(parse_networks(["10.0.16.0/20"]), "10.0.17.4"), is_peer_of(parse_networks(["10.0.16.0/20"]), None)
    (True, False)
    """
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    # On a socket for both families an IPv4 peer is written as an IPv6 address. RFC 4291 §2.5.5.2.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
