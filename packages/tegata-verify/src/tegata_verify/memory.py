"""Remembers for a short time who a token stands for, so that its next request costs a look-up (RFC 9068 §4)."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from tegata_verify.locks import ForkSafeLock
from tegata_verify.principal import Principal


class _Remembered(NamedTuple):
    principal: Principal
    since: float
    until: float
    size: int


class TokenMemory:
    """Keeps what was verified, by the token's digest alone; bounded in number and in size, for any number of threads.

    What was used last stays. `max_bytes` counts the tokens' own lengths: what is kept of one takes about six times as
    much. Looking up takes no lock: each step is one operation of a dictionary.

    >>> memory = TokenMemory(max_tokens=1, max_bytes=1000)
    >>> memory.keep(b"digest", Principal("https://id.example", "user-1"), since=100, until=160, size=400)
    >>> memory.find(b"digest", now=130).subject
    'user-1'
    >>> memory.find(b"digest", now=160) is None
    True
    """

    def __init__(self, *, max_tokens: int, max_bytes: int) -> None:
        self._max_tokens = max_tokens
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = ForkSafeLock()
        self._kept: OrderedDict[bytes, _Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._kept

    def find(self, digest: bytes, *, now: float) -> Principal | None:
        """Return who a token stands for, None if that is not known or no longer sure."""
        found = self._kept.get(digest)
        if found is None or not found.since <= now < found.until:
            return None
        try:  # noqa: SIM105 - suppress() costs as much as the look-up
            self._kept.move_to_end(digest)
        except KeyError:
            pass  # pushed out by another thread in between; what was found is true nevertheless
        return found.principal

    def keep(self, digest: bytes, principal: Principal, *, since: float, until: float, size: int) -> None:
        """Remember a token of `size` bytes from `since` until `until`."""
        with self._lock:
            old = self._kept.pop(digest, None)
            self._bytes += size - (old.size if old is not None else 0)
            self._kept[digest] = _Remembered(principal, since, until, size)
            self._push_out_one_that_is_over(since)
            while len(self._kept) > self._max_tokens or self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].size

    def _push_out_one_that_is_over(self, now: float) -> None:
        # One for each that comes in: after a rush the memory shrinks to what is in use.
        try:
            digest, oldest = next(iter(self._kept.items()))
        except RuntimeError:
            return  # another thread has just looked one up, which moved it; the next that comes in sees to this
        if oldest.until <= now:
            self._bytes -= oldest.size
            del self._kept[digest]
