"""How failed sign-ins slow down further ones: growing pauses for an account and for an address, never a lockout.

Only failures count; a pause ends by itself, and a browser in which the account was signed in before is counted apart,
so that somebody who guesses cannot keep the owner out (pitfalls P70).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """Limits of one server. Times in seconds."""

    account_failures: int = 5  # free failures before pauses begin
    address_failures: int = 50
    first_pause_seconds: float = 2.0
    longest_pause_seconds: float = 300.0
    window_seconds: int = 900  # failures are forgotten after so long without a new one


@dataclass(frozen=True, slots=True)
class ThrottleBucket:
    """One counter: SHA-256 of what is counted (account, address prefix or known device), and its free failures."""

    key: bytes
    free: int


def pause_seconds(failures: int, free: int, limits: ThrottleLimits) -> float:
    """Return how long to wait after the last failure: nothing, then 2, 4, 8 … seconds up to the longest."""
    if failures < free:
        return 0.0
    return min(limits.longest_pause_seconds, limits.first_pause_seconds * 2.0 ** min(failures - free, 20))


def wait_seconds(failures: int, last_failure_at: float, free: int, limits: ThrottleLimits, *, now: float) -> float:
    """Return the seconds that are left of the pause; 0 when the attempt may be checked."""
    return max(0.0, last_failure_at + pause_seconds(failures, free, limits) - now)


def address_prefix(address: str | None) -> str:
    """Return the network that counts as one guesser: the IPv4 address, or the /64 of an IPv6 one.

    A socket for both families writes IPv4 peers as ::ffff:192.0.2.7; one /64 of all of them would be one bucket.
    """
    if address is None:
        return "unknown"
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ip_network(f"{parsed}/{32 if parsed.version == 4 else 64}", strict=False))
