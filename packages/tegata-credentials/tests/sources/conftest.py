"""Providers that a test directs, and clocks that stand still."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tegata_credentials import RefreshPolicy, SyncTokenSource, Token, TokenSource

NOW = 1_800_000_000.0


def jwt(**claims: Any) -> str:
    """A token in the shape of a JWT; nobody here looks at the signature."""
    parts = ({"alg": "RS256"}, claims)
    body = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{body}.c2lnbmF0dXJl"


@dataclass
class Clock:
    """Both clocks of a source. `wall` may be wrong or be set; `ticks` only moves on."""

    wall: float = NOW
    ticks: float = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds


@dataclass
class Issuer:
    """Makes numbered tokens that live `life` seconds, or fails on demand, and counts how often it is asked."""

    clock: Clock
    life: float | None = 3600.0
    fetches: int = 0
    discards: int = 0
    closed: int = 0
    failure: Exception | None = None
    tokens: list[Token] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def answer(self) -> Token:
        if self.failure is not None:
            raise self.failure
        if self.tokens:
            return self.tokens.pop(0)
        ends = None if self.life is None else self.clock.wall + self.life
        return Token(f"token-{self.fetches}", ends)


class Provider(Issuer):
    """For asyncio. While `gate` is closed, fetches wait."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.gate: asyncio.Event | None = None

    async def fetch(self) -> Token:
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        return self.answer()

    async def discard(self) -> None:
        self.discards += 1

    async def close(self) -> None:
        self.closed += 1


class SyncProvider(Issuer):
    """For threads. While `gate` is closed, fetches wait."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.gate: threading.Event | None = None

    def fetch(self) -> Token:
        self.fetches += 1
        self.threads.add(threading.get_ident())
        if self.gate is not None:
            self.gate.wait()
        return self.answer()

    def discard(self) -> None:
        self.discards += 1

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(clock)


@pytest.fixture
def sync_provider(clock: Clock) -> SyncProvider:
    return SyncProvider(clock)


@pytest.fixture
def new_provider(clock: Clock) -> Callable[[], Provider]:
    return lambda: Provider(clock)


@pytest.fixture
def new_token() -> Callable[..., str]:
    return jwt


@pytest.fixture
def new_source(clock: Clock) -> Callable[..., TokenSource]:
    def build(provider: Any, **policy: float) -> TokenSource:
        return TokenSource(
            provider,
            auth_method="managed_identity",
            clock=lambda: clock.wall,
            ticks=lambda: clock.ticks,
            policy=RefreshPolicy(**policy),
        )

    return build


@pytest.fixture
def new_sync_source(clock: Clock) -> Callable[..., SyncTokenSource]:
    def build(provider: Any, policy: Any = None, **figures: float) -> SyncTokenSource:
        return SyncTokenSource(
            provider,
            auth_method="managed_identity",
            clock=lambda: clock.wall,
            ticks=lambda: clock.ticks,
            policy=policy or RefreshPolicy(**{"fetch_timeout": 60.0, **figures}),
        )

    return build


@pytest.fixture
def source(provider: Provider, new_source: Callable[..., TokenSource]) -> TokenSource:
    return new_source(provider, patience=60.0, fetch_timeout=60.0)


@pytest.fixture
def sync_source(sync_provider: SyncProvider, new_sync_source: Callable[..., SyncTokenSource]) -> SyncTokenSource:
    """With time enough for a thread of a busy machine."""
    return new_sync_source(sync_provider, patience=60.0, fetch_timeout=60.0)
