"""A secret in memory, a strategy and an observer that note what they are asked and told."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from tegata_credentials.errors import SecretUnavailable
from tegata_credentials.rotation.event import STEPS
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT

NAME = "acme-prod-secret-database"
VALUE = "swordfish-0123456789abcdef"


@dataclass
class Fake:
    """A strategy that notes what it was asked, and fails as it is told."""

    asked: list = field(default_factory=list)
    errors: dict = field(default_factory=dict)
    values: list = field(default_factory=lambda: [f"{VALUE}-{number}" for number in range(9)])

    def create(self, versions):
        self._note("create", versions)
        return HiddenText(self.values.pop(0))

    def apply(self, versions):
        self._note("apply", versions)

    def test(self, versions):
        self._note("test", versions)

    def may_return_to(self, versions):
        self._note("return", versions)

    def _note(self, what, versions):
        self.asked.append((what, versions))
        secret = versions.current.text  # a local variable, as strategies have them
        if what in self.errors:
            raise self.errors[what]
        assert secret

    @property
    def acts(self):
        return [what for what, _ in self.asked]


@dataclass
class Watcher:
    """An observer that keeps what it is told."""

    metrics: list = field(default_factory=list)
    lines: list = field(default_factory=list)

    def metric(self, name, value=1, unit="Count", **dimensions):
        self.metrics.append((name, value, unit, dimensions))

    def audit(self, action, **facts):
        self.lines.append((action, facts))

    def named(self, name):
        return [dimensions for found, _, _, dimensions in self.metrics if found == name]


class Lossy(MemoryVersions):
    """A store that applies a change, or does not, and then says that it cannot be reached."""

    def __init__(self):
        super().__init__()
        self.lost, self.broken, self.on_put = set(), set(), None

    def put_pending(self, secret, token, text):
        if self.on_put is not None:
            act, self.on_put = self.on_put, None
            act()
        self._tell("put", secret, lambda: super(Lossy, self).put_pending(secret, token, text))

    def promote(self, secret, token, *, replacing):
        self._tell("promote", secret, lambda: super(Lossy, self).promote(secret, token, replacing=replacing))

    def _tell(self, what, secret, do):
        if what not in self.broken:
            do()
        if what in self.broken | self.lost:
            raise SecretUnavailable(secret, "no answer in time")


class Case:
    """A secret with one version, and its rotation."""

    def __init__(self, key=None):
        self.store, self.fake, self.watcher = Lossy(), Fake(), Watcher()
        self.arn = self.store.add(NAME, VALUE)
        self.first = self.store.labels(self.arn).holder(CURRENT)
        self.clock = iter(range(10_000))
        self.rotation = Rotation(
            self.store, {key or self.arn: self.fake}, observer=self.watcher, ticks=lambda: next(self.clock)
        )

    def announce(self):
        token = str(uuid.uuid4())
        self.store.announce(self.arn, token)
        return token

    def do(self, step, token, secret=None):
        self.rotation.handle({"SecretId": secret or self.arn, "ClientRequestToken": token, "Step": step})

    def rotate(self, *steps):
        token = self.announce()
        for step in steps or STEPS:
            self.do(step, token)
        return token

    @property
    def labels(self):
        return self.store.labels(self.arn)
