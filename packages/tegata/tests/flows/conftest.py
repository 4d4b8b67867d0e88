"""The real application over storage in memory, started for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import Server, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Tenants `acme` and `other`."""
    async with serving() as started:
        yield started


@pytest.fixture
def browser(server: Server) -> Browser:
    """A browser that has never been here."""
    return Browser(server)


@pytest.fixture
def web(server: Server) -> RelyingParty:
    """A confidential client of `acme` that asks for consent."""
    return RelyingParty(server)


@pytest.fixture
def own(server: Server) -> RelyingParty:
    """A first-party client of `acme`: nobody is asked for consent."""
    return RelyingParty(server, "own")
