"""Which addresses outgoing requests may reach (pitfalls P50)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tegata.outbound.safe_transport import is_public


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "192.88.99.1",
        "::1", "fe80::1", "fec0::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "3fff::1",
        "2001:db8::1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_public_internet_are_refused(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "192.88.98.1", "2606:4700::1111"])
def test_ordinary_addresses_are_allowed(text: str) -> None:
    assert is_public(ip_address(text))
