"""A world in which the secret is a key of somebody else's API."""

from __future__ import annotations

import itertools
import json
import secrets
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import BaseModel

from tegata_credentials.rotation.generic_token import GenericToken
from tegata_credentials.rotation.ports import PENDING, Strategy
from tegata_credentials.token_state import HiddenText

from .clients import service
from .interruptions import Cut, Points
from .kits import Kit
from .ledger import Broken, Ledger
from .world import World

_NUMBERS = itertools.count(1)
OVERLAP = 600.0
MEMBER = "apiKey"


class ApiKey(BaseModel):
    """What clients read."""

    apiKey: str


class Provider:
    """Somebody else's service: it makes keys, takes those it knows, and withdraws them."""

    def __init__(self) -> None:
        self._made: dict[str, str] = {}
        self._known: set[str] = set()
        self._numbers = itertools.count(1)
        self.made: list[str] = []

    def make(self, request: str) -> str:
        """The same request gets the same key, unless that has been withdrawn."""
        if self._made.get(request) not in self._known:
            self._made[request] = secrets.token_urlsafe(32)
            self._known.add(self._made[request])
            self.made.append(self._made[request])
        return self._made[request]

    def check(self, key: str) -> bool:
        return key in self._known

    def revoke(self, key: str) -> None:
        self._known.discard(key)

    def refusal(self, text: str) -> str | None:
        return None if self.check(json.loads(text)[MEMBER]) else "the provider does not know the key"

    refusal_of_retired = refusal


class _Unreachable(OSError):
    """What a client of the provider's raises."""


class _Called:
    """The provider, over a network that can be cut."""

    def __init__(self, provider: Provider, points: Points) -> None:
        self._provider = provider
        self._points = points

    def make(self, request: str) -> str:
        return self._during("make a key", lambda: self._provider.make(request))

    def check(self, key: str) -> bool:
        return self._during("check a key", lambda: self._provider.check(key))

    def revoke(self, key: str) -> None:
        self._during("withdraw a key", lambda: self._provider.revoke(key))

    def _during(self, name: str, act: Any) -> Any:
        try:
            return self._points.during(name, act)
        except Cut:
            pass
        raise _Unreachable("connection reset by peer")


class ExternalWorld(World):
    """A key that its provider makes and withdraws: one that was current is good for the whole overlap."""

    points: ClassVar = {"createSecret": 13, "setSecret": 14, "testSecret": 10, "finishSecret": 14}

    def __init__(self, kit: Kit) -> None:
        self.opened = Provider()
        first = json.dumps({MEMBER: self.opened.make("by hand"), "region": "eu"})
        secret = kit.create(f"k{next(_NUMBERS)}/mail", first)
        ledger = Ledger(secret, kit.watched, self.opened, kit.clock, self.is_spent)
        super().__init__(kit, secret, ledger)
        self._services = [service(kit, secret) for _ in range(2)]
        self._moved_during: set[str | None] = set()

    def strategy(self, points: Points) -> Strategy:
        called = _Called(self.opened, points)
        return GenericToken(
            called.make,
            called.check,
            called.revoke,
            member=MEMBER,
            overlap=timedelta(seconds=OVERLAP),
            now=self.clock,
        )

    def is_spent(self, version: str) -> bool:
        retired = self.ledger.retired_at(version)
        return retired is not None and self.clock() >= retired + OVERLAP

    def client_connects(self, client: int) -> None:
        key = self._services[client].get(self.secret, ApiKey).apiKey
        self.client_operations += 1
        if not self.opened.check(key):
            raise Broken("I8: a client has a key that the provider does not know")

    def observe(self) -> None:
        # A key exists from the moment at which it is made, whether it has reached the store or not.
        self.ledger.written[:0] = [HiddenText(json.dumps({MEMBER: key})) for key in self.opened.made]
        self.opened.made.clear()
        super().observe()

    def _move_current(self) -> None:
        # There and back during one rotation leaves no trace in the labels, and these stores know no times: what was
        # current in between may be withdrawn too early. The page on rotation says so.
        pending = self._holder(PENDING)
        if pending is None or pending not in self._moved_during:
            self._moved_during.add(pending)
            super()._move_current()

    def close(self) -> None:
        super().close()
        for each in self._services:
            each.close()
