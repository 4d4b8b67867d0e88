"""Those who rotate meanwhile: the database's login, with much that goes wrong, and signing keys by their schedule."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from botocore.config import Config

from tegata.cli.failures import FOUND, OK
from tegata.cli.keys import report_as_document, scheduled
from tegata.cli.surroundings import Surroundings
from tegata.flows.admin.key_schedule import ScheduleReport
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.plans import AlternatingUsersPlan
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.rotation.strategies import strategy_of
from tegata_credentials.testing.secrets_manager import (
    DUPLICATED,
    INTERNAL_ERROR,
    LOST_RESPONSE,
    THROTTLED,
    UNAVAILABLE,
    Fault,
    InvocationFailed,
    RotationService,
)

from .installation import DATABASE, FUNCTION, OPERATOR, SERVER, TOKEN_SECONDS, Installation

_COMMAND_EVERY = 5
_MOST_ATTEMPTS = 600
# What is kept a day longer than any token is valid, because others' clocks differ: here a day passes at once.
_A_DAY_LATER = f"""
    update tegata.signing_key set state_changed_at = state_changed_at - interval '2 days'
     where state = 'previous' and state_changed_at > now() - interval '1 day'
       and state_changed_at < now() - interval '{TOKEN_SECONDS + 1} seconds'
"""
_OF_THE_FUNCTION: tuple[tuple[str, Fault, int], ...] = (
    ("PutSecretValue", LOST_RESPONSE, 1),
    ("PutSecretValue", THROTTLED, 2),
    ("PutSecretValue", DUPLICATED, 1),
    ("UpdateSecretVersionStage", LOST_RESPONSE, 1),
    ("UpdateSecretVersionStage", UNAVAILABLE, 2),
    ("UpdateSecretVersionStage", DUPLICATED, 1),
    ("DescribeSecret", THROTTLED, 2),
    ("GetSecretValue", INTERNAL_ERROR, 2),
)
# The server asks while people wait, so these are such that its SDK's own retries get past them.
_OF_THE_SERVER: tuple[tuple[str, Fault, int], ...] = (
    ("GetSecretValue", THROTTLED, 2),
    ("GetSecretValue", LOST_RESPONSE, 1),
    ("GetSecretValue", INTERNAL_ERROR, 1),
)


class DatabaseRotations:
    """Rotates the server's login: as a rotation function, or every fifth time with `tegata secrets rotate`."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self.installation = installation
        self.done = self.faults = self.commands = self.repeated = 0
        self._random = random.Random(seed)
        # Two calls: what fails twice fails the step, which is repeated at once, without the pauses of the SDK.
        options = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=20, read_timeout=20)
        self._client = installation.stand_in.client(principal=FUNCTION, config=options)
        self._store = AwsVersions(self._client)
        plan = AlternatingUsersPlan(
            secret=installation.arn,
            strategy="alternating-users",
            group="tegata_app",
            pair=None,
            administrator="tegata-live-secret-rotator",
            canary="select 1 from tegata.client where false",
            every=timedelta(days=30),
        )
        rotation = Rotation(self._store, {installation.arn: strategy_of(plan, self._store)})
        self.manager = RotationService(installation.stand_in, attempts=6)
        self.manager.register(installation.arn, rotation.handle)

    def rotate(self) -> None:
        """Rotate once; a step that fails is delivered again."""
        before = self.current()
        if self.done % _COMMAND_EVERY == _COMMAND_EVERY - 1:
            self.installation.command("secrets", "rotate", "database")
            self.commands += 1
        else:
            self._plan_faults()
            if self.done % 4 == 2:
                # Delivered twice at once, at the step that changes the password.
                self.rotate_until("setSecret")
                self.manager.deliver_together(self.manager.events[0], self.manager.events[0])
            else:
                self.manager.begin(self.installation.arn)
            self.go_on()
        assert self.current() != before
        self.done += 1

    def rotate_until(self, step: str) -> None:
        """Begin a rotation, and stop before this step."""
        self.manager.begin(self.installation.arn)
        while self.manager.events[0]["Step"] != step:
            with suppress(InvocationFailed):
                self.manager.deliver_next()

    def go_on(self) -> None:
        """Finish what was begun."""
        self.manager.run()
        self.repeated += len(self.manager.delivered) - 4
        self.manager.delivered.clear()

    def rotate_many(self, times: int, wait: Callable[[], object]) -> None:
        """Rotate so often, and wait after each time."""
        for _ in range(times):
            self.rotate()
            wait()

    def current(self) -> str:
        """Return the version that is current."""
        client = self.installation.stand_in.client()
        try:
            return str(client.get_secret_value(SecretId=DATABASE)["VersionId"])
        finally:
            client.close()

    def close(self) -> None:
        """Give everything back, and be honest again."""
        self.installation.stand_in.faults.clear()
        self._client.close()

    def _plan_faults(self) -> None:
        faults = self.installation.stand_in.faults
        for operation, fault, times in self._random.sample(_OF_THE_FUNCTION, k=self.done % 3):
            faults.next(operation, fault, times=times, principal=FUNCTION)
            self.faults += 1
        if self.done % 3 == 1:
            operation, fault, times = self._random.choice(_OF_THE_SERVER)
            faults.next(operation, fault, times=times, principal=SERVER)
            self.faults += 1


@dataclass(slots=True)
class KeyRotations:
    """Rotates signing keys as soon as their schedule lets it: in this process, with the command, or with the worker."""

    installation: Installation
    signing: Container[str]  # those that somebody has got a token of
    rounds: int = 0
    rotated: int = 0
    dropped: int = 0
    commands: int = 0

    def rotate(self, pause: Callable[[float], object]) -> None:
        """Rotate the keys of each algorithm once more, as soon as their successors have been published long enough."""
        before, ways = self._active(), self._ways()
        for way in itertools.islice(ways, _MOST_ATTEMPTS):
            self.installation.ask(_A_DAY_LATER)
            told = way()
            self.rotated += int(told["rotated"])
            self.dropped += int(told["dropped"])
            if not before & self._active():
                break
            pause(0.1)
        else:
            raise AssertionError("the signing keys do not rotate")
        self.rounds += 1

    def rotate_many(self, times: int, pause: Callable[[float], object], done: Callable[[], None]) -> None:
        """Rotate so often, each time when the keys have signed something; tell each time."""
        for _ in range(times):
            self._until_they_sign(pause)
            self.rotate(pause)
            done()
        self._until_they_sign(pause)

    def _until_they_sign(self, pause: Callable[[float], object]) -> None:
        for _ in range(_MOST_ATTEMPTS):
            if all(kid in self.signing for kid in self._active()):
                return
            pause(0.1)
        raise AssertionError("nobody gets a token of the new keys")

    def _active(self) -> set[str]:
        return {str(kid) for (kid,) in self.installation.ask("select kid from tegata.signing_key where state='active'")}

    def _ways(self) -> Iterator[Callable[[], Mapping[str, Any]]]:
        """Yield whom to ask first, then the quickest again and again."""
        turn = self.rounds % _COMMAND_EVERY
        if turn in (1, 3):
            self.commands += 1
            yield self._by_command if turn == 1 else self._by_worker
        yield from itertools.repeat(self._here)

    def _here(self) -> Mapping[str, Any]:
        return report_as_document(asyncio.run(self._scheduled()))

    async def _scheduled(self) -> ScheduleReport:
        return await scheduled(Surroundings.read(self.installation.environment(OPERATOR)), "live")

    def _by_command(self) -> Mapping[str, Any]:
        # Status 1: ten keys are published, and it asks somebody to look; a moment later it is otherwise.
        words = ("keys", "rotate", "--schedule", "--json")
        told: Mapping[str, Any] = json.loads(self.installation.command(*words, fine=(OK, FOUND)))
        return told

    def _by_worker(self) -> Mapping[str, Any]:
        """Let the worker do it, who also finishes a rotation of the database's login that it finds begun."""
        lines = map(json.loads, self.installation.command("worker", "--once").splitlines())
        (told,) = (line for line in lines if line.get("job") == "signing_keys")
        return dict(told)
