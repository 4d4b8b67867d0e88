"""A service signs through SecretService while its keys rotate twenty times: no verifier refuses a token that is valid.

Three instances of the service keep the secret for different times and publish what they have; four verifiers keep what
they were served for different times and never look again for a key they do not know. Time is that of the test.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet

from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.ports import Labels
from tegata_credentials.rotation.signing_keys import SigningKeys
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.secret_service import CachePolicy, SecretService
from tegata_credentials.secret_service.models import JwtSecret
from tegata_credentials.secret_service.timing import Timing
from tegata_credentials.sources.files import Files
from tegata_credentials.token_state import HiddenText

NAME = "shop-test-secret-jwt"
LIFE, AGE, TICK = 3600.0, 300.0, 60.0
ROTATIONS = 20


class Clock:
    def __init__(self) -> None:
        self.time = 1_790_000_000.0

    def __call__(self) -> float:
        return self.time


class Instance:
    """One process of the service."""

    def __init__(self, directory: Path, clock: Clock, ttl: float) -> None:
        timing = Timing(ticks=clock, wall=clock, share=lambda: 0.0)
        # A slow machine must not make it wait, nor hold a value for longer than it says.
        policy = CachePolicy(ttl=ttl, refresh_at=1.0, patience=60.0)
        self.secrets = SecretService(Files(directory), policy=policy, timing=timing)
        self._keys: dict[str, Any] = {}

    def sign(self, expires: float) -> str:
        secret = self.secrets.get(NAME, JwtSecret)
        kid = secret.active.kid
        if kid not in self._keys:
            self._keys[kid] = JWKRegistry.import_key(secret.active.private_jwk())
        header = {"alg": secret.algorithm, "kid": kid}
        return jws.serialize_compact(header, json.dumps({"sub": "somebody", "exp": expires}), self._keys[kid])

    def jwks(self) -> dict[str, Any]:
        return self.secrets.get(NAME, JwtSecret).jwks()


@dataclass
class Verifier:
    """Keeps the JWKS of whichever instance it met, for `age` seconds."""

    age: float
    library: str
    read_at: float = -1e9
    keys: Any = None

    def accepts(self, token: str, instance: Instance, now: float) -> bool:
        if now - self.read_at >= self.age:
            self.read_at, served = now, instance.jwks()
            self.keys = jwt.PyJWKSet.from_dict(served) if self.library == "PyJWT" else KeySet.import_key_set(served)
        try:
            if self.library == "PyJWT":
                key = self.keys[jwt.get_unverified_header(token)["kid"]]
                jwt.decode(token, key, algorithms=["ES256"], options={"verify_exp": False})
            else:
                jws.deserialize_compact(token, self.keys, algorithms=["ES256"])
        except (KeyError, JoseError):
            return False
        return True


class Forgetful(FileVersions):
    """Like Secrets Manager it does not tell since when a version is current."""

    def labels(self, secret: str) -> Labels:
        return replace(super().labels(secret), moved_at={})


@dataclass
class World:
    directory: Path
    store: FileVersions
    strategy: SigningKeys
    clock: Clock
    issued: list[tuple[float, str]] = field(default_factory=list, repr=False)
    refused: int = 0
    checked: int = 0

    def __post_init__(self) -> None:
        self.store.create(NAME, HiddenText(json.dumps({"issuer": "https://id.example.com", "expiresIn": int(LIFE)})))
        self.driver = RotationDriver(self.store, Rotation(self.store, {NAME: self.strategy}), now=self.clock)
        assert self.driver.rotate(NAME).state == "rotated"
        self.instances = [Instance(self.directory, self.clock, ttl) for ttl in (TICK, 150.0, AGE)]
        ages = zip((0.0, 60.0, 200.0, AGE), ("PyJWT", "joserfc", "PyJWT", "joserfc"), strict=True)
        self.verifiers = [Verifier(age, library) for age, library in ages]
        self.chance = random.Random(4)

    def tick(self) -> None:
        now = self.clock.time
        signer = self.chance.choice(self.instances)
        self.issued = [(expires, token) for expires, token in self.issued if expires > now]
        self.issued.append((now + LIFE, signer.sign(now + LIFE)))
        # The newest, the one that ends next, and any other: what is refused is refused for its key.
        shown = [self.issued[-1][1], self.issued[0][1], self.chance.choice(self.issued)[1]]
        for verifier in self.verifiers:
            server = self.chance.choice(self.instances)
            self.checked += len(shown)
            self.refused += sum(not verifier.accepts(token, server, now) for token in shown)
        self.clock.time += TICK

    def live(self, rotations: int) -> int:
        try:
            return self._live(rotations)
        finally:
            for instance in self.instances:
                instance.secrets.close()

    def _live(self, rotations: int) -> int:
        done, due = 0, 0.0
        while done < rotations:
            self.tick()
            if self.clock.time < due:
                continue
            outcome = self.driver.rotate(NAME)
            done += outcome.is_finished
            due = self.clock.time + (outcome.retry_after or self.chance.uniform(0, 900))
        for _ in range(int(LIFE / TICK)):
            self.tick()
        return done


def a_world(place: Path, kind: type[FileVersions], **options: Any) -> World:
    clock = Clock()
    strategy = SigningKeys(now=clock, **{"jwks_age": timedelta(seconds=AGE), "skew": timedelta(seconds=TICK)} | options)
    return World(place, kind(place, now=clock), strategy, clock)


@pytest.mark.parametrize(
    "kind", [FileVersions, Forgetful], ids=["a store that knows the time", "a store that does not"]
)
def test_twenty_rotations_refuse_no_token(tmp_path, kind, count):
    world = a_world(tmp_path, kind)
    done = world.live(ROTATIONS)
    count("signing keys", rotations=done, tokens_checked=world.checked, refused=world.refused)
    assert (done, world.refused) == (ROTATIONS, 0)
    assert world.checked > 3000


def test_without_waiting_some_would_be_refused(tmp_path):
    world = a_world(tmp_path, FileVersions, jwks_age=timedelta(0), skew=timedelta(0))
    world.live(5)
    assert world.refused > 0
