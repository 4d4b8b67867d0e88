"""Both sides of a proxy's connection, event by event (RFC 9112), and what to do when one of them goes away."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import h11

MOST_HEADER_BYTES = 64 * 1024
_CHUNK = 64 * 1024


class Side:
    """One connection: a client's (`h11.SERVER` is our role) or a target's (`h11.CLIENT`)."""

    def __init__(self, role: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A little more than the limit: what is beyond it is refused by the proxy's own rules, with its own status.
        self.state = h11.Connection(role, max_incomplete_event_size=4 * MOST_HEADER_BYTES)
        self.reader, self.writer = reader, writer
        self.used = False

    async def receive(self) -> Any:
        """Return the next event. Raises `h11.RemoteProtocolError` and `OSError`."""
        while (event := self.state.next_event()) is h11.NEED_DATA:
            if self.state.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.state.receive_data(await self.reader.read(_CHUNK))
        return event

    async def receive_answer(self) -> Any:
        """Return the beginning of an answer. Raises `ConnectionResetError` if the peer hangs up instead."""
        event = await self.receive()
        if isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError("no answer")
        return event

    async def send(self, *events: Any) -> None:
        """Write events."""
        for event in events:
            self.writer.write(self.state.send(event) or b"")
        await self.writer.drain()

    def is_reusable(self) -> bool:
        """Tell whether another exchange may follow, and prepare for it."""
        if self.state.our_state is not h11.DONE or self.state.their_state is not h11.DONE:
            return False
        self.state.start_next_cycle()
        self.used = True
        return True

    async def close(self) -> None:
        """Close the connection, whatever its state."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


async def relay(target: Side, client: Side, response: Any) -> None:
    """Send `response` and what follows of it to the client."""
    while True:
        if isinstance(response, h11.InformationalResponse) and response.status_code == 101:
            await client.send(response)
            await tunnel(target, client)
            return
        await client.send(response)
        if isinstance(response, h11.EndOfMessage):
            return
        response = await target.receive()


async def tunnel(target: Side, client: Side) -> None:
    """Carry bytes both ways until one side ends."""
    target.writer.write(client.state.trailing_data[0])
    client.writer.write(target.state.trailing_data[0])
    ways = [
        asyncio.create_task(_carry(client.reader, target.writer)),
        asyncio.create_task(_carry(target.reader, client.writer)),
    ]
    _, open_still = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in open_still:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
