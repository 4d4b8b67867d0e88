"""Lets asyncio use a provider that blocks, in a thread that nobody else has to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tegata_credentials.sync_tokens import SyncTokenProvider
from tegata_credentials.token_state import Token

Result = TypeVar("Result")


class InThread:
    """Makes a `TokenProvider` of a `SyncTokenProvider`.

    The SDKs of Azure and AWS are used through their blocking clients: these belong to no event loop, so that one
    provider serves every loop and every forked process, and no aiohttp session is left open at the end.
    """

    def __init__(self, provider: SyncTokenProvider) -> None:
        self._provider = provider

    def __repr__(self) -> str:
        return f"InThread({self._provider!r})"

    async def fetch(self) -> Token:
        """Obtain a token. A caller that is cancelled leaves the thread behind; it ends by the provider's own limits."""
        return await run(self._provider.fetch)

    async def discard(self) -> None:
        """Forget what is cached."""
        await run(self._provider.discard)

    async def close(self) -> None:
        """Close the provider."""
        await run(self._provider.close)


async def run(call: Callable[[], Result]) -> Result:
    """Run `call` in a new thread and return what it returns or raises.

    Not `asyncio.to_thread`: its threads are few and shared, and a program that fills them with slow calls would keep
    the database's password waiting behind these. A loop that ends does not wait for this thread either.
    """
    loop = asyncio.get_running_loop()
    landed: asyncio.Future[Callable[[], Result]] = loop.create_future()

    def land(outcome: Callable[[], Result]) -> None:
        if not landed.done():
            landed.set_result(outcome)

    def work() -> None:
        outcome = _attempt(call)
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody is waiting
            loop.call_soon_threadsafe(land, outcome)

    threading.Thread(target=work, name="tegata-token", daemon=True).start()
    return (await landed)()


def _attempt(call: Callable[[], Result]) -> Callable[[], Result]:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the caller, who is in another thread
        failure = error

        def fail() -> Result:
            raise failure

        return fail
    return lambda: result
