"""/metrics over the real application: who may read it, and what requests leave in it."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tegata.settings import Settings
from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import Reply, Server, serving

pytestmark = pytest.mark.anyio
MONITORING = "192.0.2.77"
NETWORKS = Settings.from_environment({"TEGATA_METRICS_NETWORKS": "192.0.2.64/26, 2001:db8::/64"}).metrics_networks
PROXY = Settings.from_environment({"TEGATA_TRUSTED_PROXIES": "192.0.2.0/24"}).trusted_proxies


def said(reply: Reply) -> str:
    """Return a page without the number of its request."""
    return re.sub(r"[\w-]{20,}", "", reply.text)


async def requests_of(server: Server) -> dict[tuple[str, str], float]:
    """Return how many requests were answered, by endpoint and status."""
    reply = await server.request("GET", "/metrics", address=MONITORING)
    assert reply.status == 200
    return {
        (sample.labels["endpoint"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
        if sample.name == "tegata_http_requests_total"
    }


@pytest.mark.parametrize("address", [MONITORING, "::ffff:192.0.2.77", "2001:db8::1"])
async def test_whoever_is_in_the_networks_reads_it(address: str) -> None:
    async with serving(metrics_networks=NETWORKS) as server:
        reply = await server.request("GET", "/metrics", address=address)
    assert reply.status == 200
    assert (reply.header("content-type") or "").startswith("text/plain; version=")
    assert reply.header("cache-control") == "no-store"


async def test_without_networks_there_is_no_such_address() -> None:
    async with serving() as server:
        nothing = await server.request("GET", "/nothing-here", address=MONITORING)
        for method in ("GET", "POST"):
            reply = await server.request(method, "/metrics", address=MONITORING)
            assert (reply.status, said(reply)) == (404, said(nothing))


async def test_to_everybody_else_it_looks_as_if_there_were_none() -> None:
    async with serving(metrics_networks=NETWORKS) as server:
        nothing = await server.request("GET", "/nothing-here", address="192.0.2.1")
        refused = await server.request("GET", "/metrics", address="192.0.2.1")
    assert (refused.status, said(refused)) == (404, said(nothing))


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-forwarded-proto", "forwarded", "via", "x-real-ip"])
@pytest.mark.parametrize("peer", [MONITORING, "192.0.2.1"])
async def test_no_header_of_a_proxy_opens_it_and_any_closes_it(name: str, peer: str) -> None:
    """A proxy on a listed address passes on what the public sends; what it says of the client, anybody can say."""
    async with serving(metrics_networks=NETWORKS, trusted_proxies=PROXY) as server:
        reply = await server.request("GET", "/metrics", headers={name: MONITORING}, address=peer)
    assert reply.status == 404


async def test_requests_are_counted_by_endpoint_and_status() -> None:
    async with serving(metrics_networks=NETWORKS) as server:
        party = RelyingParty(server)
        await party.sign_in(Browser(server))
        assert (await party.redeem("made-up")).status == 400
        await server.request("GET", "/livez")
        await server.request("GET", "/acme/.well-known/openid-configuration")
        await server.request("GET", "/.well-known/openid-configuration/acme")
        counts = await requests_of(server)
    assert counts[("token", "200")] == 1
    assert counts[("token", "400")] == 1
    assert counts[("/livez", "200")] == 1
    assert counts[(".well-known/openid-configuration", "200")] == 2


async def test_made_up_names_make_no_series() -> None:
    async with serving(metrics_networks=NETWORKS) as server:
        for number in range(50):
            await server.request("GET", f"/tenant-{number}/token")
            await server.request("GET", f"/tenant-{number}/endpoint-{number}")
            await server.request("GET", f"/tenant-{number}/.well-known/document-{number}")
            await server.request("GET", f"/static/file-{number}")
        counts = await requests_of(server)
    assert counts == {("token", "405"): 50, ("other", "404"): 100, ("/static/", "404"): 50}


async def test_nobody_is_counted_where_nobody_may_look() -> None:
    async with serving() as server:
        await server.request("GET", "/livez")
        assert await server.app._workers.samples() == {"0": []}
