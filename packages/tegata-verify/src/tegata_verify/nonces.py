"""Nonces for DPoP proofs that need no memory: the time, signed with a secret (RFC 9449 §9)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence

_PURPOSE = b"tegata-verify dpop nonce\x00"
_MIN_SECRET_BYTES = 32


class DpopNonces:
    """Makes nonces and knows its own. Give it to `DpopPolicy(nonces=…)`.

    A nonce is good for `lifetime_seconds` at least and one and a half times that at most. Without `keys` a random one
    is made, good for this process and those forked from it. Several processes, machines or Lambda instances share
    `keys`: the first one makes nonces, each recognises its own, so a key is exchanged by adding the new one in front.
    `keys` may be a function, asked each time, for keys that are rotated while the process runs.

    >>> nonces = DpopNonces()
    >>> nonces.is_good(nonces.make(now=1_700_000_000), now=1_700_000_300)
    True
    >>> nonces.is_good(nonces.make(now=1_700_000_000), now=1_700_000_451)
    False
    """

    def __init__(
        self, keys: Sequence[bytes] | Callable[[], Sequence[bytes]] = (), *, lifetime_seconds: float = 300
    ) -> None:
        if not 10 <= lifetime_seconds <= 3600:
            raise ValueError("lifetime_seconds: 10 to 3600")
        if isinstance(keys, bytes | str):
            raise ValueError("keys: a list of keys")
        self._keys = keys if callable(keys) else tuple(keys) or (secrets.token_bytes(_MIN_SECRET_BYTES),)
        self._step_seconds = lifetime_seconds / 2
        self._current_keys()

    def make(self, now: float) -> str:
        """Return the nonce of this time. The same one for everybody: it tells when a proof was made, not by whom."""
        return _sign(self._current_keys()[0], self._step(now))

    def is_good(self, nonce: str, now: float) -> bool:
        """Tell whether a nonce is one of ours and not too old."""
        # One step ahead: another process' clock may be before ours.
        steps = range(self._step(now) - 2, self._step(now) + 2)
        candidates = [_sign(key, step).encode() for key in self._current_keys() for step in steps]
        given = nonce.encode(errors="surrogatepass")
        return any(hmac.compare_digest(candidate, given) for candidate in candidates)

    def _step(self, now: float) -> int:
        return int(now // self._step_seconds)

    def _current_keys(self) -> Sequence[bytes]:
        keys = self._keys() if callable(self._keys) else self._keys
        if not keys or not all(len(key) >= _MIN_SECRET_BYTES for key in keys):
            raise ValueError(f"keys: at least one, each of {_MIN_SECRET_BYTES} bytes or more")
        return keys


def _sign(key: bytes, step: int) -> str:
    signature = hmac.new(key, _PURPOSE + step.to_bytes(8, "big", signed=True), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(signature[:24]).decode()
