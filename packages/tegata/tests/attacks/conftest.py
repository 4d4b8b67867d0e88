"""Attacks on the real application. A test marked xfail is a hole that is known and still open: closing it must turn
the test green, and then the mark goes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tegata.testing.server import Server, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Tenants `acme` and `other`, with the settings that production has by default."""
    async with serving() as started:
        yield started
