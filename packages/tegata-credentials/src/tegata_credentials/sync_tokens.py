"""Keeps one token for one login and renews it in time, for threads. The same guarantees as `tokens.TokenSource`."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from tegata_credentials.errors import CredentialError, IdentityUnavailable
from tegata_credentials.telling import tell
from tegata_credentials.token_state import HiddenText, RefreshPolicy, Standing, Token, TokenState

log = logging.getLogger("tegata_credentials.tokens")

ROUNDS = 5
"""How often a caller looks again when the token it has waited for is gone: rejections come in between, not for ever."""


class SyncTokenProvider(Protocol):
    """Obtains tokens for one login. Its methods are called from one thread at a time, not always the same."""

    def fetch(self) -> Token:
        """Obtain a token, within a few seconds. Raises `IdentityUnavailable`."""

    def discard(self) -> None:
        """Forget what is cached, so that the next `fetch` obtains another token if there is one."""

    def close(self) -> None:
        """Give back connections."""


@dataclass(slots=True, eq=False)
class _Flight:
    """One fetch under way in a thread of its own, and how it ended."""

    started: float
    generation: int
    must_discard: bool
    landed: threading.Event = field(default_factory=threading.Event)
    error: IdentityUnavailable | None = None


@dataclass(slots=True, eq=False)
class _Process:
    """What belongs to one process; a forked one begins with a copy of the token and nothing else."""

    state: TokenState
    lock: threading.Lock = field(default_factory=threading.Lock)
    flight: _Flight | None = None


class SyncTokenSource:
    """The one place that holds the token of one login, for threads. Fills the port `SyncPasswordSource`.

    The arguments are those of `TokenSource`. A fetch runs in a thread of its own, so that no caller hangs with it.
    """

    def __init__(
        self,
        provider: SyncTokenProvider,
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

    def current(self) -> str:
        """Return a token to log in with now; see `TokenSource.current`. Raises `IdentityUnavailable`."""
        for _ in range(ROUNDS):
            process = self._process()
            found = self._join(process)
            if not isinstance(found, _Flight):
                return found
            value = process.state.look()[1]
            patience = self._policy.patience if value is not None else self._policy.fetch_timeout
            landed = found.landed.wait(max(0.0, found.started + patience - time.monotonic()))
            if (latest := process.state.look()[1]) is not None:
                return latest
            if landed and found.error is not None:
                raise found.error.again()
            if not landed and self._is_late(found):
                self._give_up(process, found)
                raise IdentityUnavailable("timeout", f"no answer within {self._policy.fetch_timeout:g} s")
        raise IdentityUnavailable("rejected", "each token was rejected before it could be used")

    def rejected(self, value: str) -> None:
        """Say that the database has refused `value`; see `TokenSource.rejected`."""
        if self._process().state.reject(value):
            log.warning("the database has rejected the token", extra={"auth_method": self._auth_method})

    def accepted(self, value: str) -> None:
        """Say that the database has let somebody in with `value`. Optional: it sharpens the judgement of rejections."""
        self._process().state.accept(value)

    def close(self) -> None:
        """Close the provider. `current` raises afterwards; a fetch under way ends by itself."""
        self._closed = True
        self._provider.close()

    def _process(self) -> _Process:
        pid = os.getpid()
        found = self._processes.get(pid)
        # `setdefault` is one atomic step: two threads of a new process agree on one value without a lock to inherit.
        return found or self._processes.setdefault(pid, _Process(self._first.state.copy()))

    def _join(self, process: _Process) -> HiddenText | _Flight:
        """Return the token if no wait is needed, else the fetch to wait for."""
        if self._closed:
            raise IdentityUnavailable("closed")
        with process.lock:
            standing, value = process.state.look()
            if value is not None and standing is Standing.FRESH:
                return value
            if process.flight is not None and not self._is_late(process.flight):
                return process.flight
            if (refusal := process.state.refusal()) is None:
                process.flight = self._depart(process)
                return process.flight
        if value is None:
            raise refusal
        return value

    def _is_late(self, flight: _Flight) -> bool:
        return time.monotonic() >= flight.started + self._policy.fetch_timeout

    def _give_up(self, process: _Process, flight: _Flight) -> None:
        with process.lock:
            if process.flight is flight:
                process.flight = None
                process.state.fail(IdentityUnavailable("timeout"), flight.generation)

    def _depart(self, process: _Process) -> _Flight:
        flight = _Flight(time.monotonic(), *process.state.begin())
        threading.Thread(target=self._fly, args=(process, flight), name="tegata-token", daemon=True).start()
        return flight

    def _fly(self, process: _Process, flight: _Flight) -> None:
        outcome = self._obtain(flight.must_discard)
        flight.error = outcome if isinstance(outcome, IdentityUnavailable) else None
        with process.lock:
            if process.flight is flight or isinstance(outcome, Token):
                keep_outcome(process.state, outcome, flight.generation, self._auth_method)
            if process.flight is flight:
                process.flight = None
        flight.landed.set()

    def _obtain(self, must_discard: bool) -> Token | IdentityUnavailable:
        try:
            if must_discard:
                self._provider.discard()
            token = self._provider.fetch()
        except IdentityUnavailable as error:
            return error.again()
        except CredentialError as error:
            return IdentityUnavailable("not_configured", str(error))
        except TimeoutError:
            return IdentityUnavailable("timeout")
        except Exception as error:  # noqa: BLE001 - of an unknown provider; its text may hold anything, also a token
            return IdentityUnavailable("provider_error", type(error).__name__)
        return token if token.value else IdentityUnavailable("bad_answer", "an empty token")


def keep_outcome(state: TokenState, outcome: Token | IdentityUnavailable, generation: int, auth_method: str) -> None:
    """Hand the end of a fetch to the state and say in the log how it was, without the token."""
    if isinstance(outcome, IdentityUnavailable):
        state.fail(outcome, generation)
        facts = {"auth_method": auth_method, "reason": outcome.reason}
        tell(lambda: log.warning("no token obtained: %(reason)s", facts, extra=facts))
        return
    life = state.store(outcome, generation)
    tell(lambda: log.info("token obtained", extra={"auth_method": auth_method, "life_seconds": life and round(life)}))
