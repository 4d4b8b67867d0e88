"""Turns an access token into a principal: one call for any of the trusted issuers."""

from __future__ import annotations

import time

from tegata_verify.binding import refuse_bound
from tegata_verify.issuers import Generic
from tegata_verify.keys import CachePolicy, Clock
from tegata_verify.outgoing import TransportFactory
from tegata_verify.principal import Principal
from tegata_verify.verification import Trusting, Verification


class Verifier(Trusting):
    """Verifies tokens of one or several issuers; make one for the process and share it.

    `transport` makes the HTTP transport of each fetch, for proxies and tests. `clock` gives seconds since 1970.
    A verified token is remembered, by its digest alone, for a minute at most and never beyond its expiry; at most
    `remembered_tokens` of them, and as many as have `remembered_bytes` together.

    >>> import asyncio
    >>> from tegata_verify.testing import TestIssuer
    >>> issuer = TestIssuer()
    >>> verifier = Verifier(issuer.rules, transport=issuer.transport)
    >>> asyncio.run(verifier.verify(issuer.mint(subject="user-1"))).subject
    'user-1'
    """

    def __init__(
        self,
        *issuers: Generic,
        transport: TransportFactory | None = None,
        clock: Clock = time.time,
        cache_policy: CachePolicy | None = None,
        max_token_bytes: int = 16 * 1024,
        remembered_tokens: int = 4096,
        remembered_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self.verification = Verification(
            issuers,
            transport=transport,
            clock=clock,
            cache_policy=cache_policy,
            max_token_bytes=max_token_bytes,
            remembered_tokens=remembered_tokens,
            remembered_bytes=remembered_bytes,
        )

    async def verify(self, token: str, *, caller_checks_binding: bool = False) -> Principal:
        """Return who acts with `token`. Raises `TokenError` or `KeysUnavailable`. RFC 9068 §4.

        A token that is bound to a key or a certificate (`cnf`) is refused, because nothing here shows that its sender
        has them. A `Guard` looks at the whole request; `caller_checks_binding` is for those who do as it does.
        """
        principal = self.verification.prepare(token)
        if not isinstance(principal, Principal):
            pending = principal
            principal = self.verification.finish(pending, await pending.keys.find_keys(pending.kid))
        if not caller_checks_binding:
            refuse_bound(principal.claims)
        return principal

    async def aclose(self) -> None:
        """Stop fetches that are still under way; nothing else needs closing."""
        for cache in self.verification.caches:
            await cache.aclose()
