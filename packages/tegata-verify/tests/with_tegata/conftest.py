"""A Tegata server on loopback, with two tenants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from tegata.testing.server import Server, serving


@pytest.fixture
async def tegata(anyio_backend: str) -> AsyncIterator[Server]:
    listening = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with serving(base_url=base_url, allow_insecure_base_url=True) as server:
        web = uvicorn.Server(uvicorn.Config(server.app, log_level="warning", lifespan="off"))
        task = asyncio.create_task(web.serve([listening]))
        yield server
        web.should_exit = True
        await task
    listening.close()
