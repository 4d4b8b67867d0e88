"""Keeps one token for one login and renews it in time: `TokenSource` for asyncio, `SyncTokenSource` for threads.

A source belongs to one host, port and user. It asks its provider once however many connections are waiting, renews
before the end, goes on with a living token while the identity endpoint is down, and replaces a token that the
database has refused. It may be used from several event loops, one after the other or in several threads, and in
processes forked from this one. The token stays in memory: it is in no log line, no exception and no `repr`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from tegata_credentials.errors import CredentialError, IdentityUnavailable
from tegata_credentials.sync_tokens import ROUNDS, SyncTokenProvider, SyncTokenSource, keep_outcome
from tegata_credentials.token_state import RefreshPolicy, Standing, Token, TokenState

__all__ = ["RefreshPolicy", "SyncTokenProvider", "SyncTokenSource", "Token", "TokenProvider", "TokenSource"]

log = logging.getLogger(__name__)


class TokenProvider(Protocol):
    """Obtains tokens for one login."""

    async def fetch(self) -> Token:
        """Obtain a token. Raises `IdentityUnavailable`; anything else is reported as `provider_error`."""

    async def discard(self) -> None:
        """Forget what is cached, so that the next `fetch` obtains another token if there is one."""

    async def close(self) -> None:
        """Give back connections and threads."""


@dataclass(slots=True, eq=False)
class _Flight:
    """One fetch under way, and how it ended."""

    started: float
    task: asyncio.Task[None] | None = None
    error: IdentityUnavailable | None = None


@dataclass(slots=True, eq=False)
class _Process:
    """What belongs to one process; a forked one begins with a copy of the token and nothing else."""

    state: TokenState
    flights: dict[asyncio.AbstractEventLoop, _Flight] = field(default_factory=dict)


class TokenSource:
    """The one place that holds the token of one login, for asyncio. Fills the port `PasswordSource`.

    `auth_method` is the word for logs and health checks. `clock` gives seconds since the epoch, `ticks` seconds that
    are never set back. `policy` says when the token is renewed.
    """

    def __init__(
        self,
        provider: TokenProvider,
        *,
        auth_method: str,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        policy: RefreshPolicy | None = None,
    ) -> None:
        self._provider = provider
        self._auth_method = auth_method
        self._policy = policy or RefreshPolicy()
        self._closed = False
        self._first = _Process(TokenState(self._policy, clock, ticks))
        self._processes = {os.getpid(): self._first}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._auth_method} {self._process().state.look()[0].value}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token source is not pickled: each process makes its own")

    @property
    def auth_method(self) -> str:
        """How the database is told who we are."""
        return self._auth_method

    async def current(self) -> str:
        """Return a token to log in with now.

        Waits only if there is no living one, or briefly when a renewal has just begun. Raises `IdentityUnavailable`.
        A caller that is cancelled leaves the fetch to the others.
        """
        for _ in range(ROUNDS):
            if self._closed:
                raise IdentityUnavailable("closed")
            process = self._process()
            standing, value = process.state.look()
            if value is not None and standing is Standing.FRESH:
                return value
            flight = process.flights.get(asyncio.get_running_loop())
            if flight is None:
                refusal = process.state.refusal()
                if refusal is None:
                    flight = self._depart(process)
                elif value is not None:
                    return value
                else:
                    raise refusal
            if value is not None:
                await _wait(flight, flight.started + self._policy.patience - time.monotonic())
            else:
                await _wait(flight, None)
                if flight.error is not None:
                    raise flight.error.again()
            if (latest := process.state.look()[1]) is not None:
                return latest
        raise IdentityUnavailable("rejected", "each token was rejected before it could be used")

    async def rejected(self, value: str) -> None:
        """Say that the database has refused `value`: the next `current` asks the provider for another one.

        Only the token that is held now is dropped, so that many failed logins lead to one new fetch. A database that
        refuses every new token does not make the source ask the identity endpoint at each login.
        """
        if self._process().state.reject(value):
            log.warning("the database has rejected the token", extra={"auth_method": self._auth_method})

    def accepted(self, value: str) -> None:
        """Say that the database has let somebody in with `value`. Optional: it sharpens the judgement of rejections."""
        self._process().state.accept(value)

    async def close(self) -> None:
        """End what is under way in this event loop and close the provider. `current` raises afterwards."""
        self._closed = True
        flight = self._process().flights.get(asyncio.get_running_loop())
        if flight is not None and flight.task is not None:
            flight.task.cancel()
            await _wait(flight, None)
        await self._provider.close()

    def _process(self) -> _Process:
        pid = os.getpid()
        found = self._processes.get(pid)
        # `setdefault` is one atomic step: two threads of a new process agree on one value without a lock to inherit.
        return found or self._processes.setdefault(pid, _Process(self._first.state.copy()))

    def _depart(self, process: _Process) -> _Flight:
        loop = asyncio.get_running_loop()
        for other in [other for other in process.flights if other.is_closed()]:
            process.flights.pop(other, None)
        flight = process.flights[loop] = _Flight(time.monotonic())
        # An empty context: the fetch is nobody's request, and must not carry the first caller's trace or tenant.
        flight.task = loop.create_task(self._fly(process, flight, loop), context=contextvars.Context())
        return flight

    async def _fly(self, process: _Process, flight: _Flight, loop: asyncio.AbstractEventLoop) -> None:
        generation, must_discard = process.state.begin()
        try:
            outcome = await self._obtain(must_discard)
            flight.error = outcome if isinstance(outcome, IdentityUnavailable) else None
            keep_outcome(process.state, outcome, generation, self._auth_method)
        except asyncio.CancelledError:
            flight.error = IdentityUnavailable("closed" if self._closed else "cancelled")
            raise
        finally:
            process.flights.pop(loop, None)  # the loop may be gone when this is collected

    async def _obtain(self, must_discard: bool) -> Token | IdentityUnavailable:
        seconds = self._policy.fetch_timeout
        try:
            async with asyncio.timeout(seconds):
                if must_discard:
                    await self._provider.discard()
                token = await self._provider.fetch()
        except IdentityUnavailable as error:
            return error.again()
        except CredentialError as error:
            return IdentityUnavailable("not_configured", str(error))
        except TimeoutError:
            return IdentityUnavailable("timeout", f"no answer within {seconds:g} s")
        except Exception as error:  # noqa: BLE001 - of an unknown provider; its text may hold anything, also a token
            return IdentityUnavailable("provider_error", type(error).__name__)
        return token if token.value else IdentityUnavailable("bad_answer", "an empty token")


async def _wait(flight: _Flight, seconds: float | None) -> None:
    """Wait for the end of the fetch, or so long; neither our cancellation nor our timeout touches the fetch."""
    if flight.task is not None and (seconds is None or seconds > 0):
        await asyncio.wait([flight.task], timeout=seconds)
