"""Turns an access token into a principal for callers without asyncio: threads of Flask, Django, plain WSGI, scripts."""

from __future__ import annotations

import math
from typing import Unpack

from tegata_verify.background import Background
from tegata_verify.binding import refuse_bound
from tegata_verify.errors import KeysUnavailable
from tegata_verify.issuers import Generic
from tegata_verify.jwks import VerificationKey
from tegata_verify.principal import Principal
from tegata_verify.verification import Pending, Trusting, Verification, VerifierSettings
from tegata_verify.verifier import Verifier


class SyncVerifier(Trusting):
    """`Verifier` for threads: the same rules, arguments and caches; make one for the process and share it.

    A token that is remembered, or whose key is at hand, is judged in the caller's thread. Only keys have to be fetched
    elsewhere, in an event loop of a daemon thread that starts with the first fetch. It may be made before a server
    forks its workers: each process fetches keys by itself.

    >>> from tegata_verify.testing import TestIssuer
    >>> issuer = TestIssuer()
    >>> verifier = SyncVerifier(issuer.rules, transport=issuer.transport)
    >>> verifier.verify(issuer.mint(subject="user-1")).subject
    'user-1'
    >>> verifier.close()
    """

    def __init__(
        self, *issuers: Generic, background: Background | None = None, **settings: Unpack[VerifierSettings]
    ) -> None:
        self.background = background or Background()
        self.verification = Verification(issuers, **settings)

    @classmethod
    def of(cls, verifier: Verifier, *, background: Background | None = None) -> SyncVerifier:
        """Return one that shares keys and remembered tokens with `verifier`, for a process that has both kinds."""
        shared = cls.__new__(cls)
        shared.background = background or Background()
        shared.verification = verifier.verification
        return shared

    def verify(self, token: str, *, caller_checks_binding: bool = False) -> Principal:
        """Return who acts with `token`. Raises `TokenError` or `KeysUnavailable`. RFC 9068 §4.

        A token that is bound to a key or a certificate is refused, as in `Verifier.verify`.
        """
        principal = self.verification.prepare(token)
        if not isinstance(principal, Principal):
            pending = principal
            principal = self.verification.finish(pending, self._find_keys(pending))
        if not caller_checks_binding:
            refuse_bound(principal.claims)
        return principal

    def close(self) -> None:
        """Stop fetches that are still under way, and their thread."""
        self.background.close()

    def _find_keys(self, pending: Pending) -> tuple[VerificationKey, ...]:
        cache = pending.keys
        found = cache.find_at_hand(pending.kid)
        if found is None:
            return self._wait_for_keys(pending)
        if cache.is_renewal_due():
            self.background.start(cache.renew())
        return found

    def _wait_for_keys(self, pending: Pending) -> tuple[VerificationKey, ...]:
        patience = self.verification.patience_seconds
        try:
            return self.background.run(pending.keys.find_keys(pending.kid), timeout_seconds=patience)
        except TimeoutError as error:
            raise KeysUnavailable(math.ceil(patience), str(error)) from error
