"""Waits until an event loop is done with its connections."""

from __future__ import annotations

import asyncio
import time
from typing import Any


async def until_connections_are_closed() -> None:
    """Wait until this event loop watches nothing but what wakes it up.

    asyncpg leaves a TLS connection to close by itself, and a loop that ends before that is warned about.
    """
    loop: Any = asyncio.get_running_loop()
    latest = time.monotonic() + 60
    while len(loop._selector.get_map()) > 1 and time.monotonic() < latest:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.005)
