"""Health: is the process alive, may it get traffic (pitfalls P102). Plain, unauthenticated, cached for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from tegata.api.http import Request, Response, json_response
from tegata.api.routes import PlainHandler
from tegata.flows.directory import Clock
from tegata.storage.errors import StorageError
from tegata.storage.ports import Health

_log = structlog.get_logger("tegata.health")


class HealthEndpoints:
    """`/livez`, `/readyz` and the addresses that load balancers and older set-ups ask for."""

    def __init__(
        self, storage: Health, clock: Clock, *, auth_method: str, keys_are_usable: Callable[[], bool] = lambda: True
    ) -> None:
        self._storage = storage
        self._keys_are_usable = keys_are_usable
        self._clock = clock
        self._auth_method = auth_method
        self._checked_at = float("-inf")
        self._ready = False
        self._checking: asyncio.Future[None] | None = None
        self.draining = False  # set on SIGTERM, so that the balancer stops sending before the server stops answering

    def routes(self) -> dict[str, PlainHandler]:
        """Return the handlers by exact path."""
        return {
            "/livez": self.live,
            "/readyz": self.ready,
            "/healthz": self.ready,
            "/health/db": self.database,
            "/actuator/health": self.actuator,
        }

    async def live(self, _request: Request) -> Response:
        """Alive: the event loop answers. Depends on nothing else."""
        return json_response({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """Ready: the database answers, its schema is this release's, keys open, and the server is not draining."""
        ready = await self._may_get_traffic()
        return _answer(ready, {"status": "ok" if ready else "unavailable"})

    async def database(self, _request: Request) -> Response:
        """Seed 000's address, with 503 when unhealthy and without internal text (errata A11)."""
        ready = await self._database_ready()
        return _answer(
            ready,
            {
                "status": "healthy" if ready else "unhealthy",
                "database": "connected" if ready else "disconnected",
                "auth_method": self._auth_method,
            },
        )

    async def actuator(self, _request: Request) -> Response:
        """Seed 001's address."""
        ready = await self._may_get_traffic()
        return _answer(ready, {"status": "UP" if ready else "DOWN"})

    async def _may_get_traffic(self) -> bool:
        return await self._database_ready() and self._keys_are_usable() and not self.draining

    async def _database_ready(self) -> bool:
        """Whoever asks while the database is being asked waits for the same answer."""
        if self._clock() - self._checked_at >= 1.0:
            if self._checking is None:
                self._checking = asyncio.ensure_future(self._check())
            await asyncio.shield(self._checking)
        return self._ready

    async def _check(self) -> None:
        ready = False
        try:
            await self._storage.check()
            ready = True
        except StorageError as error:
            _log.warning("database_not_ready", reason=str(error))
        finally:
            # Also after a fault of ours: what was true before it is no answer to who asks next.
            self._ready = ready
            self._checked_at = self._clock()
            self._checking = None


def _answer(ready: bool, document: Mapping[str, Any]) -> Response:
    return json_response(document, 200 if ready else 503)
