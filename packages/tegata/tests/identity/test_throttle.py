"""Throttling: pauses grow to a limit and end by themselves, and nobody shares a bucket by accident (pitfalls P70)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.identity.throttle import ThrottleLimits, address_prefix, pause_seconds, wait_seconds

LIMITS = ThrottleLimits()
seconds = st.floats(0.001, 3600)
limits = st.builds(ThrottleLimits, first_pause_seconds=seconds, longest_pause_seconds=seconds)
failures = st.integers(0, 10_000)


def test_the_curve_of_the_defaults() -> None:
    pauses = [pause_seconds(count, LIMITS.account_failures, LIMITS) for count in range(15)]
    assert pauses == [0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(failures, failures, limits)
def test_a_pause_never_exceeds_the_longest_and_free_failures_are_free(
    count: int, free: int, limits: ThrottleLimits
) -> None:
    pause = pause_seconds(count, free, limits)
    assert 0 <= pause <= limits.longest_pause_seconds
    assert (pause == 0) is (count < free)


@given(failures, failures, limits)
def test_one_more_failure_never_shortens_the_pause(count: int, free: int, limits: ThrottleLimits) -> None:
    assert pause_seconds(count, free, limits) <= pause_seconds(count + 1, free, limits)


@given(failures, failures, limits, st.floats(0, 1e10))
def test_every_wait_ends_by_itself(count: int, free: int, limits: ThrottleLimits, last: float) -> None:
    """Never a lockout."""
    wait = wait_seconds(count, last, free, limits, now=last)
    assert wait == pytest.approx(pause_seconds(count, free, limits), abs=1e-5)
    assert wait_seconds(count, last, free, limits, now=last + limits.longest_pause_seconds + 0.001) == 0
    assert wait_seconds(count, last, free, limits, now=last + wait / 2) <= wait


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::1", "::/64"),
        (None, "unknown"),
        ("", "unknown"),
        ("testclient", "unknown"),
        ("192.0.2.7:443", "unknown"),
        ("192.0.2.0/24", "unknown"),
    ],
)
def test_the_network_that_counts_as_one_guesser(address: str | None, prefix: str) -> None:
    assert address_prefix(address) == prefix


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_two_ipv4_addresses_never_share_a_bucket_however_they_are_written(one: IPv4Address, other: IPv4Address) -> None:
    """A socket for both families shows IPv4 peers as ::ffff:192.0.2.7."""
    assert address_prefix(f"::ffff:{one}") == address_prefix(str(one))
    assert (address_prefix(f"::ffff:{one}") == address_prefix(f"::ffff:{other}")) is (one == other)


@given(st.ip_addresses(v=6))
@example(IPv6Address("fe80::1%eth0"))
def test_an_ipv6_guesser_is_its_network(address: IPv6Address) -> None:
    if address.ipv4_mapped is None:
        network = ip_network(address_prefix(str(address)))
        assert network.prefixlen == 64
        assert IPv6Address(int(address)) in network


@given(st.text())
@example("fe80::1%eth0")
@example("fe80::1%a/b")
def test_any_text_has_a_bucket(text: str) -> None:
    assert address_prefix(text)
