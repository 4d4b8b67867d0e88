"""Hearing about changes that any process has committed: LISTEN on a connection of its own.

A notification that was sent while nobody listened is lost, so after every gap the callbacks are told that everything
may have changed.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from uuid import UUID

import structlog

from tegata.identifiers import TenantId
from tegata.postgres.errors import as_storage_error
from tegata.postgres.logins import open_session
from tegata.postgres.target import ConnectionTarget
from tegata.storage.ports import ChangeCallback

CHANNEL = "tegata_changed"
_CONNECT_SECONDS = 10.0
_log = structlog.get_logger("tegata.postgres.changes")


class ChangeListener:
    """Implements `storage.ports.Changes`. Runs between `start` and `close`, and reconnects by itself."""

    def __init__(
        self, target: ConnectionTarget, *, retry_seconds: float = 1.0, heartbeat_seconds: float = 30.0
    ) -> None:
        self._target = target
        self._retry = retry_seconds
        self._heartbeat = heartbeat_seconds
        self._callbacks: list[ChangeCallback] = []
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    def subscribe(self, callback: ChangeCallback) -> None:
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Begin to listen in the background. Does not wait for the database."""
        self._task = asyncio.create_task(self._run(), name="tegata change listener")

    async def until_listening(self) -> None:
        """Wait until changes committed from now on will be heard."""
        await self._listening.wait()

    async def close(self) -> None:
        """Stop listening."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - whatever ended the connection, the answer is to listen again
                meaning = as_storage_error(error)
                _log.warning("changes.interrupted", error=str(meaning or repr(error)))
            self._listening.clear()
            await asyncio.sleep(self._retry)

    async def _listen(self) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):  # the credential included
            connection = await open_session(self._target, connect_seconds=_CONNECT_SECONDS, command_seconds=10.0)
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        try:
            await connection.add_listener(CHANNEL, self._heard)
            # Only now can nothing be missed any more; what happened before is unknown.
            self._tell(None, "all", "")
            self._listening.set()
            while not ended.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat):
                        await ended.wait()
                # Finds a peer that went away without closing the connection.
                if not ended.is_set():
                    await connection.fetchval("select 1")
        finally:
            connection.terminate()

    def _heard(self, connection: object, process: int, channel: str, payload: object) -> None:
        try:
            change = json.loads(str(payload))
            tenant_id, kind, key = TenantId(UUID(str(change["tenant"]))), str(change["kind"]), str(change["key"])
        except (ValueError, KeyError, TypeError, RecursionError):
            self._tell(None, "all", "")
        else:
            self._tell(tenant_id, kind, key)

    def _tell(self, tenant_id: TenantId | None, kind: str, key: str) -> None:
        for callback in self._callbacks:
            callback(tenant_id, kind, key)
