"""Decides which signing keys a version of the secret holds: next, then active, then previous, then gone. Pure.

A key is published before it signs, and stays published until nothing that it signed is valid any more, so that no
verifier with a cached JWKS ever meets an unknown key (OIDC Core §10.1.1, RFC 7517 §5). One version of the secret holds
the whole ring: to make a version current is to publish its keys.

Nobody is told when a version becomes current; AWS Secrets Manager does not say. What is certain: when a version is
made, the one before it is current. From this alone the rules get their times. A key may sign when the version that
holds it as active was made long enough ago, because the version that published it was current then. And the end of a
key that has stopped to sign is counted from the making of the version after that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

KeyState = Literal["next", "active", "previous"]

MOST_KEYS = 10  # an AWS load balancer reads 10 keys of a JWKS and no more
# RFC 7518 §6, RFC 8037 §2: what of a key may be published. Nothing else is, whatever it is called.
PUBLIC_MEMBERS = {"EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e"), "OKP": ("kty", "crv", "x")}
_LABELS = ("kid", "alg", "use")
# RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2: how the names of the algorithms begin that a type of key signs with.
_SIGNS: Mapping[str, tuple[str, ...]] = {"EC": ("ES",), "RSA": ("RS", "PS"), "OKP": ("Ed",)}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Waits:
    """How long what is kept where; seconds.

    Example:

        >>> waits = Waits(token_life=24 * 3600, jwks_age=300, secret_age=300, skew=60)
        >>> waits.until_known, waits.until_useless
        (660, 87060)
    """

    token_life: float
    jwks_age: float
    """How long a verifier keeps a JWKS."""
    secret_age: float
    """How long the service that signs and publishes keeps a version of the secret."""
    skew: float
    """How far two clocks may be apart."""

    @property
    def until_known(self) -> float:
        """How long after a version became current every verifier has its keys."""
        return self.secret_age + self.jwks_age + self.skew

    @property
    def until_useless(self) -> float:
        """How long after a key was replaced nothing valid needs it any more."""
        return self.until_useless_after(self.token_life)

    def until_useless_after(self, life: float) -> float:
        """The same for a key whose tokens lived so long."""
        return self.secret_age + life + self.jwks_age + self.skew


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key. `jwk` has its private part only as long as it may have to sign.

    Example:

        >>> RingKey("k1", "next", 0, {"kty": "OKP", "crv": "Ed25519", "x": "eA", "d": "hidden", "kid": "k1"})
        RingKey(kid='k1', state='next', since=0, until=None, life=0.0)
    """

    kid: str
    state: KeyState
    since: float  # seconds since the epoch
    jwk: Mapping[str, Any] = field(repr=False)
    until: float | None = None
    """When a previous key is needed no more; None while it is not certain that it has stopped to sign."""
    life: float = 0.0
    """How long tokens lived while a previous key signed; what is said of their life later does not count for it."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: it stays in the memory of one process")

    @property
    def public(self) -> dict[str, Any]:
        """The public JWK."""
        return public_part(self.jwk)

    def become(self, state: KeyState, now: float) -> RingKey:
        """Return the key in its next state; a previous one has lost its private part."""
        return RingKey(self.kid, state, now, self.public if state == "previous" else self.jwk)


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one version of the secret, and when it was made.

    Example:

        >>> first = RingKey("k1", "next", 0, {"kty": "OKP", "crv": "Ed25519", "x": "eA", "d": "hidden"})
        >>> second = replace(first, kid="k2")
        >>> ring = turned(Ring((first,), made=0), second, now=900, waits=Waits(3600, 300, 300, 60))
        >>> [(key.kid, key.state) for key in ring.keys]
        [('k1', 'active'), ('k2', 'next')]
    """

    keys: tuple[RingKey, ...]
    made: float

    def find(self, state: KeyState) -> RingKey | None:
        """Return the one key that is next, or active; the first of those that are previous."""
        return next((key for key in self.keys if key.state == state), None)

    def published(self, kid: str) -> RingKey | None:
        """Return the key of this name, in whatever state: all are published."""
        return next((key for key in self.keys if key.kid == kid), None)


class RingFull(Exception):
    """No key can be added before one of the previous ones is useless.

    >>> print(RingFull(60.0))
    every published key is still needed for 60 s
    """

    def __init__(self, wait: float) -> None:
        super().__init__(f"every published key is still needed for {wait:.0f} s")
        self.wait = wait


def turned(
    ring: Ring, fresh: RingKey, *, now: float, waits: Waits, current_since: float | None = None, most: int = MOST_KEYS
) -> Ring:
    """Return the ring of the version after `ring`, which is current: next signs, active verifies, `fresh` is next.

    `current_since` is when `ring` became current, if that is known. A ring without a next key keeps its active one.
    Raises `RingFull`.
    """
    stopped = now if current_since is None else min(now, current_since)
    ends = {key.kid: _useless_at(key, stopped, waits) for key in ring.keys}
    needed = [replace(key, until=ends[key.kid]) for key in ring.keys if key.state == "previous" and now < ends[key.kid]]
    moved = [_moved(key, ring, now, waits.token_life) for key in ring.keys if key.state != "previous"]
    keys = tuple(sorted((*moved, fresh.become("next", now), *needed), key=lambda key: key.state))
    if len(keys) > most:
        soonest = sorted(ends[key.kid] for key in needed)[: len(keys) - most]
        raise RingFull(soonest[-1] - now if soonest else waits.until_useless)
    return Ring(keys, now)


def known_at(current: Ring, pending: Ring, waits: Waits, current_since: float | None = None) -> float:
    """Return when every verifier has the keys of `current`, so that `pending` may sign with one of them."""
    return (pending.made if current_since is None else current_since) + waits.until_known


def _useless_at(key: RingKey, stopped: float, waits: Waits) -> float:
    return stopped + waits.until_useless_after(max(key.life, waits.token_life)) if key.until is None else key.until


def _moved(key: RingKey, ring: Ring, now: float, life: float) -> RingKey:
    if key.state == "next":
        return key.become("active", now)
    return key if ring.find("next") is None else replace(key.become("previous", now), life=life)


def read_ring(document: Mapping[str, Any], member: str = "keys") -> Ring:
    """Return the ring that stands in the value of a secret. Raises `ValueError`, without the value."""
    try:
        keys = tuple(
            RingKey(
                str(key["kid"]),
                _state(key["state"]),
                seconds_of(key["since"]),
                dict(key["jwk"]),
                _end(key),
                float(key.get("life", 0.0)),
            )
            for key in document.get(member, ())
        )
        made = seconds_of(document["madeAt"]) if "madeAt" in document else max((key.since for key in keys), default=0.0)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{member} is no ring of signing keys") from None
    if len({key.kid for key in keys}) < len(keys) or any(
        sum(key.state == state for key in keys) > 1 for state in ("next", "active")
    ):
        raise ValueError(f"{member} has a kid twice, or more than one key that is next or active")
    return Ring(keys, made)


def write_ring(ring: Ring, member: str = "keys") -> dict[str, Any]:
    """Return the members of the document that hold the ring."""
    keys = [
        {"kid": key.kid, "state": key.state, "since": moment_of(key.since), "jwk": dict(key.jwk)}
        | ({} if key.until is None else {"until": moment_of(key.until)})
        | ({"life": key.life} if key.life else {})
        for key in ring.keys
    ]
    return {member: keys, "madeAt": moment_of(ring.made)}


def published_keys(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the JWKS to publish for the value of a secret, RFC 7517 §5: public parts only.

    >>> published_keys({"secret": "hidden", "algorithm": "HS256"})
    {'keys': []}
    """
    algorithm = document.get("algorithm")
    rings = [read_ring(document, member) for member in ("keys", "upcomingKeys")]
    return {"keys": [published_jwk(key.kid, key.jwk, algorithm) for ring in rings for key in ring.keys]}


def published_jwk(kid: str, jwk: Mapping[str, Any], algorithm: object = None) -> dict[str, Any]:
    """Return one key as it is published, RFC 7517 §4, with its own algorithm.

    If it names none, it gets the issuer's `algorithm`. Neither is told if the key's type cannot be used with it: while
    an issuer goes over to another algorithm its keys differ, and a key pair is never told to be good for HS256.
    """
    usable = _SIGNS.get(jwk.get("kty", ""), ())
    found = next((str(name) for name in (jwk.get("alg"), algorithm) if str(name).startswith(usable)), None)
    public = public_part({name: value for name, value in jwk.items() if name != "alg"})
    return public | {"kid": kid, "use": "sig"} | ({"alg": found} if found else {})


def public_part(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a JWK may be published. A symmetric key has no public part: raises `ValueError`."""
    kept = PUBLIC_MEMBERS.get(jwk.get("kty", ""))
    if kept is None:
        raise ValueError("not a key pair")
    return {name: jwk[name] for name in (*kept, *_LABELS) if name in jwk}


def parse_life(text: object) -> float | None:
    """Return the seconds that `expiresIn` means: a number of seconds, or `15m`, `24h`, `7d`; None for anything else."""
    found = re.fullmatch(r"(\d{1,9})\s*([smhdw]?)", str(text).strip()) if isinstance(text, int | str) else None
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def _state(word: object) -> KeyState:
    for state in ("next", "active", "previous"):
        if word == state:
            return state
    raise ValueError("not a state")


def _end(key: Mapping[str, Any]) -> float | None:
    return seconds_of(key["until"]) if "until" in key else None


def seconds_of(text: str) -> float:
    """Return a moment of RFC 3339 in seconds since the epoch. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.timestamp()


def moment_of(seconds: float) -> str:
    """Return the moment as RFC 3339 writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()
