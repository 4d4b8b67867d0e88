"""The client's address: believed from the right, as far as trusted proxies reach, and no further."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.api.addresses import client_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32"), ip_network("2001:db8::/32"))
PROXY, CLIENT = "10.0.0.1", "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param(CLIENT, [], CLIENT, id="no proxy"),
        pytest.param(CLIENT, ["198.51.100.1"], CLIENT, id="a header of a stranger"),
        pytest.param(PROXY, [], PROXY, id="a proxy that says nothing"),
        pytest.param(PROXY, [CLIENT], CLIENT, id="one proxy"),
        pytest.param(PROXY, [f"198.51.100.1, {CLIENT}"], CLIENT, id="what the client wrote stands further left"),
        pytest.param(PROXY, ["198.51.100.1", CLIENT], CLIENT, id="in a line of its own as well"),
        pytest.param(PROXY, [f"{CLIENT}, 10.9.9.9 ,192.0.2.1"], CLIENT, id="three proxies"),
        pytest.param(PROXY, [f"{CLIENT}, 192.0.2.2"], "192.0.2.2", id="a hop that nobody trusts"),
        pytest.param(PROXY, ["10.1.1.1"], "10.1.1.1", id="proxies only"),
        pytest.param(PROXY, [f"{CLIENT}, nonsense"], PROXY, id="nonsense ends the chain"),
        pytest.param(PROXY, [f"{CLIENT},"], PROXY, id="an empty entry ends the chain"),
        pytest.param(PROXY, ["unknown"], PROXY, id="unknown"),
        pytest.param("2001:db8::1", ["2001:4860::8"], "2001:4860::8", id="IPv6"),
        pytest.param("::ffff:10.0.0.1", [CLIENT], CLIENT, id="an IPv4 proxy at a socket for both families"),
        pytest.param(PROXY, ["::ffff:203.0.113.9"], CLIENT, id="an IPv4 client written as IPv6"),
        pytest.param(PROXY, [f"{CLIENT}:51234"], CLIENT, id="with a port, as Azure Application Gateway writes it"),
        pytest.param(PROXY, ["[2001:4860::8]:443"], "2001:4860::8", id="IPv6 with a port"),
        pytest.param(PROXY, ["[2001:4860::8]"], "2001:4860::8", id="IPv6 in brackets"),
        pytest.param(PROXY, [f"{CLIENT}:x"], PROXY, id="a port that is none"),
        pytest.param(None, [CLIENT], None, id="a Unix socket"),
        pytest.param("", [CLIENT], "", id="no address"),
        pytest.param("testclient", [CLIENT], "testclient", id="a peer without an address"),
    ],
)
def test_the_address_of_the_client(peer: str | None, forwarded: list[str], expected: str | None) -> None:
    assert client_address(peer, forwarded, TRUSTED) == expected


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_address(PROXY, [CLIENT], ()) == PROXY


line = st.text(max_size=60) | st.lists(st.ip_addresses().map(str), max_size=4).map(", ".join)


@given(st.lists(line, max_size=4))
@example(["fe80::1%eth0"])
@example(["[", "]:1"])
def test_any_header_yields_an_address(forwarded: list[str]) -> None:
    found = client_address(PROXY, forwarded, TRUSTED)
    assert found is not None
    ip_address(found)


@given(st.lists(line, max_size=4), st.lists(st.sampled_from(["10.1.2.3", "192.0.2.1", "2001:db8::7"]), max_size=5))
def test_nothing_a_client_writes_changes_its_address(written: list[str], proxies: list[str]) -> None:
    added = ", ".join([CLIENT, *proxies])
    joined = [*written[:-1], f"{written[-1]}, {added}"] if written else [added]
    assert client_address(PROXY, joined, TRUSTED) == CLIENT
    assert client_address(PROXY, [*written, added], TRUSTED) == CLIENT


def test_an_endless_chain_is_cut() -> None:
    assert client_address(PROXY, [CLIENT, ", ".join(["10.1.1.1"] * 10_000)], TRUSTED) == "10.1.1.1"
