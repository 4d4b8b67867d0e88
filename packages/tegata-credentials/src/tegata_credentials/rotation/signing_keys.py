"""Rotates the keys that sign tokens: a rotation publishes one key, and lets the one published before it sign.

There is nothing to apply: services publish what stands in AWSCURRENT, so a key is published with the version that holds
it, and signs with the version after that. What is waited for is that every verifier has read it meanwhile.

From a shared secret (`{"secret", "algorithm": "HS256"}`) the way leads through two rotations. The first leaves the
secret as it is and adds `upcomingKeys`, to be published: `published_keys` of the document has them. Until the second
one, every verifier has to learn to read the JWKS. The second lets the first of these keys sign, and keeps the old
secret as `previousSecret` for as long as tokens signed with it live: whoever verifies them needs it until then, and
everybody who has it can still make some.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from tegata_credentials.errors import SecretMalformed, missing_extra
from tegata_credentials.rotation.errors import NotYet, TestFailed
from tegata_credentials.rotation.ports import Versions
from tegata_credentials.rotation.signing_ring import (
    Ring,
    RingFull,
    RingKey,
    Waits,
    known_at,
    moment_of,
    parse_life,
    published_keys,
    read_ring,
    seconds_of,
    turned,
    write_ring,
)
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

try:
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
except ImportError as error:
    raise missing_extra("signing", "joserfc") from error

Algorithm = Literal["ES256", "RS256", "PS256", "EdDSA"]

DEFAULT_LIFE = "24h"
RSA_BITS = 2048
_MOST_BYTES = 256 * 1024
_TIMEOUT = 5.0
_SAMPLE = b"a token that nobody accepts"
# The library warns of the name that everybody uses; RFC 9864 has another one for the same signature.
_NAMES = {"EdDSA": "Ed25519"}
_BY_TYPE = {"EC": "ES256", "OKP": "EdDSA", "RSA": "RS256"}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """How the keys of a JWT issuer are rotated: `Rotation(store, {"shop-prod-secret-jwt": SigningKeys()})`.

    `jwks_age` is how long verifiers keep a JWKS; `secret_age` how long the service keeps a version of the secret, by
    default as long. Tokens live as long as `expiresIn` in the secret says, or `token_life` if that is longer. What the
    world sees is asked for with `published`, which returns a JWKS, or at `jwks_url`. A new `algorithm` is that of the
    next key: it signs from the rotation after.

    Example:

        >>> strategy = SigningKeys("EdDSA")
        >>> nothing = SecretVersion("shop-dev-secret-jwt", "4c77", HiddenText("{}"))
        >>> ring = json.loads(strategy.create(Versions(nothing.secret, "0b51", nothing, None, None)))
        >>> [(key["state"], key["jwk"]["alg"]) for key in ring["keys"]]
        [('active', 'EdDSA'), ('next', 'EdDSA')]
    """

    algorithm: Algorithm = "ES256"
    jwks_age: timedelta = timedelta(minutes=5)
    secret_age: timedelta | None = None
    token_life: timedelta | None = None
    skew: timedelta = timedelta(minutes=1)
    issuer: str | None = None
    published: Callable[[], Mapping[str, Any]] | None = field(default=None, repr=False)
    jwks_url: str | None = None
    now: Callable[[], float] = field(default=time.time, repr=False)

    def create(self, versions: Versions) -> HiddenText:
        """Return the next ring. Raises `NotYet` while ten keys are published and each is needed."""
        document, now = _document(versions.current), self.now()
        waits, stopped = self._waits(versions), versions.current_since
        ring, shared = _ring(versions.current, document), _is_shared(document)
        try:
            if not ring.keys:
                return _text(self._first(document, shared, now))
            ring = turned(ring, self._fresh(now), now=now, waits=waits, current_since=stopped)
        except RingFull as full:
            raise NotYet(str(full), full.wait) from None
        useless = (now if stopped is None else min(now, stopped)) + waits.until_useless
        return _text(_without_old_secret(document, shared, now, useless) | _signing(ring, document))

    def apply(self, versions: Versions) -> None:
        """Do nothing: a key is published with the version that holds it."""

    def test(self, versions: Versions) -> None:
        """Sign with the key that is to sign, and verify with what is published now.

        Raises `NotYet` until every verifier has read the key, `TestFailed` if it is not published at all.
        """
        pending = versions.pending
        document = {} if pending is None else _document(pending)
        ring = Ring((), 0) if pending is None else _ring(pending, document)
        stays = pending is not None and pending.version == versions.current.version
        if stays and _is_shared(document):
            return
        key = ring.find("next" if _is_shared(document) else "active")
        if pending is None or key is None:
            raise TestFailed("the new version has no key that could sign")
        token = _signed(key)
        before = _document(versions.current)
        if _is_shared(document) or not (_ring(versions.current, before).keys or _is_shared(before)):
            _check(token, key, published_keys(document), "the new version")  # nobody can know an older key
            return
        _check(token, key, published_keys(before), "AWSCURRENT")
        if not stays:
            known = known_at(_ring(versions.current, before), ring, self._waits(versions), versions.current_since)
            if self.now() < known:
                raise NotYet("verifiers may not have read the new key yet", known - self.now())
        self._check_world(token, key)

    def may_return_to(self, versions: Versions) -> None:
        """Raise `TestFailed` unless the key that signed before can sign, and verifiers still know it."""
        previous = versions.previous
        document = {} if previous is None else _document(previous)
        current = _document(versions.current)
        if _is_shared(document):
            kept = current.get("previousSecret")
            known = current if not isinstance(kept, dict) else kept
            if known.get("secret") != document["secret"]:
                raise TestFailed("verifiers do not have the shared secret any more")
            return
        key = None if previous is None else _ring(previous, document).find("active")
        if key is None:
            raise TestFailed("the previous version has no key that could sign")
        token = _signed(key)
        _check(token, key, published_keys(current), "AWSCURRENT")
        self._check_world(token, key)

    def _waits(self, versions: Versions) -> Waits:
        known = [versions.current, versions.previous, versions.pending]
        lives = [_life(version) for version in known if version is not None]
        least = 0.0 if self.token_life is None else self.token_life.total_seconds()
        jwks_age = self.jwks_age.total_seconds()
        secret_age = jwks_age if self.secret_age is None else self.secret_age.total_seconds()
        return Waits(max(*lives, least), jwks_age, secret_age, self.skew.total_seconds())

    def _first(self, document: Mapping[str, Any], shared: bool, now: float) -> dict[str, Any]:
        if shared:
            return dict(document) | write_ring(Ring((self._fresh(now),), now), "upcomingKeys")
        ring = Ring((self._fresh(now).become("active", now), self._fresh(now)), now)
        told = {"issuer": self.issuer} if self.issuer else {}
        life = DEFAULT_LIFE if self.token_life is None else int(self.token_life.total_seconds())
        return {**told, "expiresIn": life, **document, **_signing(ring, document)}

    def _fresh(self, now: float) -> RingKey:
        key: ECKey | RSAKey | OKPKey
        if self.algorithm == "ES256":
            key = ECKey.generate_key("P-256")
        elif self.algorithm == "EdDSA":
            key = OKPKey.generate_key("Ed25519")
        else:
            key = RSAKey.generate_key(RSA_BITS)
        named = {"kid": key.thumbprint(), "alg": self.algorithm, "use": "sig"}
        return RingKey(named["kid"], "next", now, {**key.as_dict(private=True), **named})

    def _check_world(self, token: str, key: RingKey) -> None:
        if self.published is not None:
            _check(token, key, self.published(), "what is published")
        if self.jwks_url is not None:
            _check(token, key, fetch_jwks(self.jwks_url), self.jwks_url)


def fetch_jwks(url: str) -> Mapping[str, Any]:
    """Return the JWKS at an address, as anybody would read it. Raises `TestFailed`."""
    if not url.startswith(("https://", "http://")):
        raise TestFailed("the address of the JWKS is not one of HTTP")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 - the operator's own address
            found = json.loads(answer.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        raise TestFailed(f"{url} cannot be read: {type(error).__name__}") from None
    return found if isinstance(found, dict) else {}


def _document(version: SecretVersion) -> dict[str, Any]:
    return {} if not version.text.strip() else version.document()


def _is_shared(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("secret"), str) and str(document.get("algorithm", "HS256")).startswith("HS")


def _ring(version: SecretVersion, document: Mapping[str, Any]) -> Ring:
    try:
        return read_ring(document, "upcomingKeys" if _is_shared(document) else "keys")
    except ValueError as error:
        raise SecretMalformed(version.secret, str(error)) from None


def _life(version: SecretVersion) -> float:
    life = parse_life(_document(version).get("expiresIn", DEFAULT_LIFE))
    if life is None:
        raise SecretMalformed(version.secret, "expiresIn is no time like 3600 or 24h")
    return life


def _signing(ring: Ring, document: Mapping[str, Any]) -> dict[str, Any]:
    active = ring.find("active")
    algorithm = document.get("algorithm") if active is None else _algorithm(active)
    return {"algorithm": algorithm, **write_ring(ring)}


def _algorithm(key: RingKey) -> str:
    return str(key.jwk.get("alg") or _BY_TYPE.get(str(key.jwk.get("kty")), ""))


def _without_old_secret(document: Mapping[str, Any], shared: bool, now: float, useless: float) -> dict[str, Any]:
    """Return the document without the shared secret; as `previousSecret` it stays for as long as its tokens live."""
    old = ("secret", "upcomingKeys", "previousSecret")
    rest = {name: value for name, value in document.items() if name not in old}
    if shared:
        algorithm = document.get("algorithm", "HS256")
        return rest | {"previousSecret": {"secret": document["secret"], "algorithm": algorithm}}
    kept = document.get("previousSecret")
    if not isinstance(kept, dict):
        return rest
    kept = {"until": moment_of(useless), **kept}  # only now is it certain that a version without it is current
    return rest | ({"previousSecret": kept} if now < seconds_of(kept["until"]) else {})


def _text(document: Mapping[str, Any]) -> HiddenText:
    return HiddenText(json.dumps(document))


def _signed(key: RingKey) -> str:
    name = _NAMES.get(_algorithm(key), _algorithm(key))
    try:
        return jws.serialize_compact({"alg": name, "kid": key.kid}, _SAMPLE, _imported(key.jwk), algorithms=[name])
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise TestFailed(f"key {key.kid} cannot sign: {type(error).__name__}") from None


def _check(token: str, key: RingKey, jwks: Mapping[str, Any], where: str) -> None:
    keys = jwks.get("keys")
    keys = [jwk for jwk in keys if isinstance(jwk, dict)] if isinstance(keys, list) else []
    found = [jwk for jwk in keys if jwk.get("kid") == key.kid]
    if not found:
        raise TestFailed(f"key {key.kid} is not in {where}")
    name = _NAMES.get(_algorithm(key), _algorithm(key))
    try:
        jws.deserialize_compact(token, _imported(found[0]), algorithms=[name])
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise TestFailed(f"key {key.kid} in {where} does not verify: {type(error).__name__}") from None


def _imported(jwk: Mapping[str, Any]) -> Any:
    return JWKRegistry.import_key({name: value for name, value in jwk.items() if name not in ("alg", "use", "key_ops")})
