"""The worker's part: every few minutes, what is due is rotated and what was begun is finished.

The queue lets one worker do it at a time. A worker that is killed leaves an unfinished rotation in the store, and the
next run goes on with the same version.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from tegata.cli.rotation.documents import RotatedSecret
from tegata.cli.rotation.known import known_secrets
from tegata.cli.rotation.running import Result, pause_until, rotate_due
from tegata.cli.rotation.stores import Stores
from tegata.settings import Settings
from tegata_credentials.observer import Observer

CRON = "*/5 * * * *"
_INTERVAL_SECONDS = 5 * 60
_FAILURES = {"failed", "misconfigured", "needs_a_person"}
_log = structlog.get_logger("tegata.rotation")


class RotationsFailed(Exception):
    """Some secret was not rotated; the log has said which and why."""


class Rotations:
    """The secrets of one worker, and their chore. Raises `CommandFailure`, `InvalidDocuments` where they are wrong."""

    def __init__(
        self, settings: Settings, *, observer: Observer | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.secrets: Sequence[RotatedSecret] = known_secrets(settings)
        self._certificates = settings.rotation_ca
        self._observer = observer
        self._now = now
        # Of each that somebody else is at: the version, since when, and when that was last seen.
        self._busy: dict[str, tuple[str | None, float, float]] = {}

    async def do(self) -> Mapping[str, object]:
        """Rotate what is due, one secret after the other, in a thread: drivers and stores of secrets block."""
        stopping = threading.Event()
        working = asyncio.ensure_future(asyncio.to_thread(self._rotate, stopping))
        try:
            results = await asyncio.shield(working)
        except asyncio.CancelledError:
            # What is in a thread cannot be cancelled: it ends at its next pause, or with the secret it is at.
            stopping.set()
            while not working.done():  # whoever is impatient cancels again, and must not hear of an end before it
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([working])
            raise
        failed = [result.name for result in results if result.state in _FAILURES]
        if failed:
            raise RotationsFailed(f"not rotated: {', '.join(failed)}")
        return dict(Counter(result.state for result in results))

    def _rotate(self, stopping: threading.Event) -> list[Result]:
        stores = Stores(certificates=self._certificates, observer=self._observer, pause=pause_until(stopping))
        results = []
        try:
            for result in rotate_due(stores, self.secrets, self._now, stopping):
                self._tell(result)
                results.append(result)
        finally:
            stores.close()
        return results

    def _tell(self, result: Result) -> None:
        """Write what came of it; that somebody else is at it is worth a look if it lasts longer than a run does."""
        if not result.is_busy:
            self._busy.pop(result.name, None)
            _tell(result)
            return
        now = self._now()
        version, since, last = self._busy.get(result.name, (result.version, now, now))
        # Another rotation than the one that was found before; or other workers have had turns, who may have got on.
        if version != result.version or now - last > 2 * _INTERVAL_SECONDS:
            since = now
        self._busy[result.name] = result.version, since, now
        if now - since <= _INTERVAL_SECONDS:
            _tell(result)
            return
        _log.warning(
            "secret_rotation_stays_busy",
            name=result.name,
            version=result.version,
            seconds=round(now - since),
            reason=result.reason,
            cure="docs/how-to/rotate-without-lambda.md",
        )


def _tell(result: Result) -> None:
    match result.state:
        case "rotated":
            _log.info("secret_rotated", name=result.name, version=result.version, resumed=result.resumed)
        case "waiting":
            _log.info("secret_rotation_waits", name=result.name, version=result.version, reason=result.reason)
        case "failed":
            _log.warning(
                "secret_rotation_failed", name=result.name, reason=result.reason, still_valid=result.still_valid
            )
        case "misconfigured" | "needs_a_person":
            _log.error(
                "secret_rotation_needs_a_person",
                name=result.name,
                reason=result.reason,
                still_valid=result.still_valid,
                cure="docs/how-to/rotate-without-lambda.md",
            )
        case _:
            pass
