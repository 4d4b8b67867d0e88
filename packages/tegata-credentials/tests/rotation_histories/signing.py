"""A world in which the secret is a ring of signing keys: services sign and publish, verifiers keep what they read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from tegata_credentials.rotation.ports import Strategy
from tegata_credentials.rotation.signing_keys import SigningKeys
from tegata_credentials.secret_service.policy import CachePolicy

from .clients import service
from .interruptions import Points
from .kits import Kit
from .ledger import Broken, Ledger
from .world import World

_NUMBERS = itertools.count(1)
SECRET_AGE, JWKS_AGE, TOKEN_LIFE = 300.0, 600.0, 7200.0
MOST_KEYS = 10
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def published(text: str) -> list[dict[str, Any]]:
    """Return what a service publishes of a ring: every key, and of each what is public."""
    return [
        {name: value for name, value in key["jwk"].items() if name not in _PRIVATE}
        for key in json.loads(text).get("keys", ())
    ]


def sign(text: str) -> str | None:
    """Sign something with the active key of a ring, if it has one."""
    active = next((key["jwk"] for key in json.loads(text).get("keys", ()) if key["state"] == "active"), None)
    if active is None:
        return None
    key = JWKRegistry.import_key({name: value for name, value in active.items() if name not in ("alg", "use")})
    return jws.serialize_compact({"alg": "ES256", "kid": active["kid"]}, b"{}", key, algorithms=["ES256"])


def verifies(token: str, jwks: list[dict[str, Any]]) -> bool:
    """Whether somebody who has this JWKS accepts a token."""
    kid = jws.extract_compact(token.encode()).headers()["kid"]
    found: Mapping[str, Any] | None = next((key for key in jwks if key.get("kid") == kid), None)
    if found is None:
        return False
    key = JWKRegistry.import_key({name: value for name, value in found.items() if name not in ("alg", "use")})
    try:
        jws.deserialize_compact(token, key, algorithms=["ES256"])
    except JoseError:
        return False
    return True


class Issuer:
    """Signs with what it has in its cache, and publishes that; a verifier too, which keeps what it reads of another."""

    def __init__(self, kit: Kit, secret: str) -> None:
        self._clock = kit.clock
        self._secret = secret
        self._service = service(kit, secret, CachePolicy(ttl=SECRET_AGE, patience=10.0))
        self._jwks: list[dict[str, Any]] = []
        self._read_at = float("-inf")

    def text(self) -> str:
        return self._service.get_version(self._secret).text

    def known(self, publisher: Issuer) -> list[dict[str, Any]] | None:
        """Return the JWKS that this verifier has, not older than verifiers keep it.

        None from a service that is not set up: it knows the value from before the first rotation, which has no ring.
        """
        if not self._jwks or self._clock() >= self._read_at + JWKS_AGE:
            text = publisher.text()
            if "keys" not in json.loads(text):
                return None
            self._jwks, self._read_at = published(text), self._clock()
        return self._jwks

    def close(self) -> None:
        self._service.close()


class SigningWorld(World):
    """A ring of keys. Whoever may have a ring in a cache may sign; whoever may have read a JWKS must accept that."""

    points: ClassVar = {"createSecret": 11, "setSecret": 8, "testSecret": 8, "finishSecret": 12}

    def __init__(self, kit: Kit) -> None:
        secret = kit.create(f"s{next(_NUMBERS)}/jwt", json.dumps({"issuer": "https://id.example", "expiresIn": "2h"}))
        ledger = Ledger(secret, kit.watched, self, kit.clock, self.is_spent)
        self.texts: dict[str, str] = {}
        self.tokens: list[tuple[str, float]] = []
        self._issuers = [Issuer(kit, secret) for _ in range(2)]
        super().__init__(kit, secret, ledger)

    def strategy(self, points: Points) -> Strategy:
        return SigningKeys(
            jwks_age=timedelta(seconds=JWKS_AGE), secret_age=timedelta(seconds=SECRET_AGE), now=self.clock
        )

    def refusal(self, text: str) -> str | None:
        """Sign with a ring, and verify with what the current one publishes."""
        token = sign(text)
        keys = published(self._read(self.current()).text)
        if len(keys) > MOST_KEYS:
            return f"{len(keys)} keys are published"
        return None if token is None or verifies(token, keys) else "what it signs does not verify"

    def refusal_of_retired(self, text: str) -> str | None:
        return self.refusal(text)

    def can_go_back_to(self, text: str) -> bool:
        before, after = sign(text), sign(self._read(self.current()).text)
        return (
            before is not None and self.refusal(text) is None and after is not None and verifies(after, published(text))
        )

    def somebody(self, what: str) -> None:
        """Whoever goes back by hand gives up what is unfinished first: a store may not say when a label was moved."""
        if what == "current moved":
            super().somebody("pending removed")
        super().somebody(what)

    def is_spent(self, version: str) -> bool:
        """Whoever had it in a cache has stopped to sign, and what was signed has ended."""
        retired = self.ledger.retired_at(version)
        return retired is not None and self.clock() >= retired + SECRET_AGE + TOKEN_LIFE

    def client_connects(self, client: int) -> None:
        """A service signs; every verifier accepts that, and all that was signed before and has not ended."""
        signer, other = self._issuers[client], self._issuers[1 - client]
        token = sign(signer.text())
        now = self.clock()
        self.tokens = [kept for kept in self.tokens if now < kept[1]]
        if token is not None:
            self.tokens.append((token, now + TOKEN_LIFE))
        for verifier, publisher in ((signer, other), (other, signer)):
            if (keys := verifier.known(publisher)) is None:
                continue
            for signed, _ in self.tokens:
                self.client_operations += 1
                if not verifies(signed, keys):
                    raise Broken("I8: a verifier refuses a token that is good")

    def observe(self) -> None:
        super().observe()
        self._check_every_cache()

    def close(self) -> None:
        super().close()
        for issuer in self._issuers:
            issuer.close()

    def _check_every_cache(self) -> None:
        """I2: whatever may be in anybody's cache now, by the times alone, goes together."""
        now = self.clock()
        signers = [self._text(version) for version in self._current_since(now - SECRET_AGE)]
        verifiers = [self._text(version) for version in self._current_since(now - SECRET_AGE - JWKS_AGE)]
        for text in signers:
            token = sign(text)
            if token is None:
                continue
            for known in verifiers:
                # Before the first key there was nothing that anybody could have read.
                if published(known) and not verifies(token, published(known)):
                    raise Broken("I2: somebody who has read the keys in time refuses what somebody signs in time")

    def _current_since(self, moment: float) -> set[str]:
        """Return the versions that were current at some time after `moment`."""
        ends = [move.at for move in self.ledger.moves[1:]] + [float("inf")]
        return {move.token for move, end in zip(self.ledger.moves, ends, strict=True) if end > moment}

    def _text(self, version: str) -> str:
        if version not in self.texts:
            self.texts[version] = self._read(version).text
        return self.texts[version]
