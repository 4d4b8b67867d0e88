"""Remembers which DPoP proofs were used, so that none is used twice (RFC 9449 §11.1)."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from tegata_verify.errors import KeysUnavailable, Reason
from tegata_verify.locks import ForkSafeLock


@dataclass(frozen=True, slots=True)
class UsedProof:
    """A proof that is good but for the question whether it is new.

    `digest` names it: text of 64 characters, made of the `jti` and the key. After `keep_seconds` it may be forgotten,
    because its own time is over by then. `thumbprint` is that of the key that made it.
    """

    digest: str
    thumbprint: str
    seen_at: float
    keep_seconds: float


class ProofMemory(Protocol):
    """Where used proofs are remembered; implement it for a store that processes share.

    `remember` writes and answers in one step: of two that come at once with the same digest exactly one is told True.
    In Redis that is `SET digest 1 NX EX keep_seconds`, in SQL `INSERT … ON CONFLICT DO NOTHING`. If the store is away
    raise `KeysUnavailable(…, reason=Reason.MEMORY_UNAVAILABLE)`: the request is answered with 503.
    """

    def remember(self, proof: UsedProof) -> bool | Awaitable[bool]:
        """Return True if the proof was not known yet; from now on it is."""
        ...


class LocalProofMemory:
    """Remembers proofs in this process, for threads and coroutines alike.

    Another process does not see them: with N workers or Lambda instances a proof can be used once in each while its
    time lasts. At most `capacity` proofs are kept, `per_key` of one key. Beyond that the answer is 503 rather than
    forgetting a proof that is still good; the smaller limit keeps one client from using up the room of all.

    >>> memory = LocalProofMemory()
    >>> proof = UsedProof("a" * 64, "thumbprint", seen_at=1_700_000_000, keep_seconds=80)
    >>> memory.remember(proof), memory.remember(proof)
    (True, False)
    """

    def __init__(self, *, capacity: int = 100_000, per_key: int = 20_000) -> None:
        if not 0 < per_key <= capacity:
            raise ValueError("capacity and per_key: positive, and per_key the smaller one")
        self._capacity = capacity
        self._per_key = per_key
        self._lock = ForkSafeLock()
        self._seen: OrderedDict[str, UsedProof] = OrderedDict()
        self._of_key: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many proofs are remembered."""
        return len(self._seen)

    def remember(self, proof: UsedProof) -> bool:
        """Return True if the proof was not known yet. Raises `KeysUnavailable` where there is no room for it."""
        with self._lock:
            self._forget_old(proof.seen_at)
            if proof.digest in self._seen:
                return False
            if len(self._seen) >= self._capacity or self._of_key[proof.thumbprint] >= self._per_key:
                raise KeysUnavailable(1, "too many proofs", reason=Reason.MEMORY_UNAVAILABLE)
            self._seen[proof.digest] = proof
            self._of_key[proof.thumbprint] += 1
            return True

    def _forget_old(self, now: float) -> None:
        # All are kept equally long, so the oldest stand in front. One that was seen long after now, by a clock that was
        # set back since, is not good at this time, and must not stay in front of the others till its own comes.
        while self._seen:
            digest, proof = next(iter(self._seen.items()))
            if abs(now - proof.seen_at) < proof.keep_seconds:
                return
            thumbprint = proof.thumbprint
            del self._seen[digest]
            self._of_key[thumbprint] -= 1
            if not self._of_key[thumbprint]:
                del self._of_key[thumbprint]
