"""Rotates a key of somebody else's API: its provider makes, tries and withdraws keys, through calls that you bring.

A call whose answer is lost may have made a key that nobody knows. Therefore `make` gets the token of the rotation, and
is called with the same one after a crash: whoever finds a key made under that token at the provider returns it, or
withdraws it and makes another.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tegata_credentials.rotation.errors import NotYet, RotationRefused, TestFailed
from tegata_credentials.rotation.ports import Versions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

MADE_AT = "madeAt"
MADE_FROM = "madeFrom"
"""The version that was current then."""


class KeyProvider(Protocol):
    """The three calls as one object, e.g. a client of the provider's API; without `revoke` nothing is withdrawn."""

    def make(self, request: str, /) -> str:
        """Return a new key. `request` is the token of the rotation: the same again means the same key, or a new one."""

    def check(self, key: str, /) -> bool:
        """Say whether the key works."""

    def revoke(self, key: str, /) -> None:
        """Withdraw a key; one that is withdrawn already is no error."""


@dataclass(frozen=True, slots=True)
class GenericToken:
    """How a key of an external API is rotated. The last two keys stay good; the one before them is withdrawn.

    The value is the key itself; with `member` it is a JSON object that holds the key under this name, and its other
    members are kept. A key is withdrawn when its successor has been current for `overlap`: for at least as long as
    readers keep a value. If the store does not say since when (AWS), only a JSON object has a place to note the time.

    Example:

        >>> from tegata_credentials.rotation.ports import Versions
        >>> strategy = GenericToken(make=lambda request: f"key-for-{request}", check=lambda key: True, member="apiKey")
        >>> old = SecretVersion("shop-dev-secret-mail", "4c77", HiddenText('{"apiKey": "old", "region": "eu"}'))
        >>> new = json.loads(strategy.create(Versions(old.secret, "0b51", old, None, None)))
        >>> new["apiKey"], new["region"]
        ('key-for-0b51', 'eu')
    """

    make: Callable[[str], str] = field(repr=False)
    check: Callable[[str], bool] = field(repr=False)
    revoke: Callable[[str], None] | None = field(default=None, repr=False)
    member: str | None = None
    overlap: timedelta = timedelta(hours=1)
    now: Callable[[], float] = field(default=time.time, repr=False)

    @classmethod
    def of(cls, provider: KeyProvider, *, member: str | None = None) -> GenericToken:
        """Rotate with the calls of one object."""
        return cls(provider.make, provider.check, getattr(provider, "revoke", None), member)

    def create(self, versions: Versions) -> HiddenText:
        """Have a key made, under the token of this rotation."""
        if self.member is None and self.revoke is not None and versions.current_since is None:
            raise RotationRefused(
                "this store does not say since when a version is current, so nobody knows when a key may be withdrawn: "
                "keep the key in a JSON object, and name its member"
            )
        document = {} if self.member is None else versions.current.document()
        key = self.make(versions.token)
        if not isinstance(key, str) or not key:
            raise TestFailed("the provider returned no key")
        if self.member is None:
            return HiddenText(key)
        made = datetime.fromtimestamp(self.now(), UTC).isoformat()
        noted = {MADE_AT: made, MADE_FROM: versions.current.version}
        return HiddenText(json.dumps(document | {self.member: key} | noted))

    def apply(self, versions: Versions) -> None:
        """Try the new key, then withdraw the one that loses its label with this rotation, once nobody uses it."""
        self.test(versions)
        if self.revoke is None or versions.previous is None or versions.pending is None:
            return
        key = self._key(versions.previous)
        if key in (self._key(versions.current), self._key(versions.pending)):
            return
        left = self._since(versions) + self.overlap.total_seconds() - self.now()
        if left > 0:
            raise NotYet("readers may still have the key that is to be withdrawn", left)
        versions.recheck()
        self.revoke(key)

    def test(self, versions: Versions) -> None:
        """Raise `TestFailed` unless the new key works."""
        if versions.pending is None or not self.check(self._key(versions.pending)):
            raise TestFailed("the provider does not accept the new key yet")

    def may_return_to(self, versions: Versions) -> None:
        """Raise `TestFailed` unless the previous key still works."""
        if versions.previous is None or not self.check(self._key(versions.previous)):
            raise TestFailed("the provider does not accept the previous key any more")

    def _key(self, version: SecretVersion) -> str:
        if self.member is None:
            return HiddenText(version.text.strip())  # an editor ends a file with a line break
        key: Any = version.document().get(self.member)
        if not isinstance(key, str) or not key:
            raise TestFailed(f"version {version.version} has no {self.member}")
        return HiddenText(key)

    def _since(self, versions: Versions) -> float:
        """Return a time at which the current key was current for certain: the new one was made after it."""
        if versions.current_since is not None:
            return versions.current_since
        assert versions.pending is not None
        noted = versions.pending.document()
        if noted.get(MADE_FROM, versions.current.version) != versions.current.version:
            raise RotationRefused(
                "another version has become current since the new key was made, and nobody knows when: "
                "give this rotation up and begin another"
            )
        try:
            return datetime.fromisoformat(noted[MADE_AT]).timestamp()
        except (KeyError, TypeError, ValueError):
            raise RotationRefused(f"version {versions.token} does not say when it was made ({MADE_AT})") from None
