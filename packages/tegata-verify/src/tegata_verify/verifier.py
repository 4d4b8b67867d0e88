"""Turns an access token into a principal: one call for any of the trusted issuers."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass

from tegata_verify.documents import DocumentFetcher, TransportFactory
from tegata_verify.errors import Reason, TokenError
from tegata_verify.issuers import Generic
from tegata_verify.keys import CachePolicy, Clock, JwksCache
from tegata_verify.principal import Principal, build_principal
from tegata_verify.tokens import (
    check_claims,
    check_header,
    check_signature,
    choose_key,
    numeric_date,
    parse_token,
)

_REMEMBERED_SECONDS = 60  # also for how long a token outlives the withdrawal of its key from our copy


@dataclass(frozen=True, slots=True)
class _Remembered:
    principal: Principal
    since: float
    until: float


class Verifier:
    """Verifies tokens of one or several issuers; make one for the process and share it.

    `transport` makes the HTTP transport of each fetch, for proxies and tests. `clock` gives seconds since 1970.
    A verified token is remembered, by its digest alone, for a minute at most and never beyond its expiry.
    """

    def __init__(
        self,
        *issuers: Generic,
        transport: TransportFactory | None = None,
        clock: Clock = time.time,
        cache_policy: CachePolicy | None = None,
        max_token_bytes: int = 16 * 1024,
        remembered_tokens: int = 4096,
    ) -> None:
        policy = cache_policy or CachePolicy()
        self._rules = {rules.issuer: rules for rules in issuers}
        if not issuers or len(self._rules) != len(issuers):
            raise ValueError("name at least one issuer, and each once")
        self._keys = {name: _build_cache(rules, transport, clock, policy) for name, rules in self._rules.items()}
        self._clock = clock
        self._max_token_bytes = max_token_bytes
        self._remembered_tokens = remembered_tokens
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()

    @property
    def issuers(self) -> tuple[Generic, ...]:
        """What is trusted."""
        return tuple(self._rules.values())

    @property
    def clock(self) -> Clock:
        """What time it is, in seconds since 1970."""
        return self._clock

    async def verify(self, token: str) -> Principal:
        """Return who acts with `token`. Raises `TokenError` or `KeysUnavailable`. RFC 9068 §4."""
        if len(token) > self._max_token_bytes:
            raise TokenError(Reason.TOKEN_TOO_LARGE)
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        now = self._clock()
        remembered = self._remembered.get(digest)
        if remembered is not None and remembered.since <= now < remembered.until:
            self._remembered.move_to_end(digest)
            return remembered.principal
        principal, expires = await self._verify(token)
        self._remember(digest, _Remembered(principal, now, min(expires, now + _REMEMBERED_SECONDS)))
        return principal

    async def aclose(self) -> None:
        """Stop fetches that are still under way; nothing else needs closing."""
        for cache in self._keys.values():
            await cache.aclose()

    async def _verify(self, token: str) -> tuple[Principal, float]:
        # The order matters: nothing is fetched for a token that cannot become good, and no claim but `iss`, which
        # chooses between rules, is read before the signature is checked.
        unverified = parse_token(token, max_bytes=self._max_token_bytes)
        issuer = unverified.claims.get("iss")
        rules = self._rules.get(issuer) if isinstance(issuer, str) else None
        if rules is None:
            raise TokenError(Reason.UNKNOWN_ISSUER)
        algorithm, kid = check_header(unverified.header, rules)
        key = choose_key(await self._keys[rules.issuer].find_keys(kid), algorithm, kid)
        check_signature(unverified, key)
        claims = check_claims(unverified.claims, rules, now=self._clock())
        return build_principal(claims, rules), numeric_date(claims, "exp") or 0

    def _remember(self, digest: bytes, remembered: _Remembered) -> None:
        self._remembered[digest] = remembered
        self._remembered.move_to_end(digest)
        while len(self._remembered) > self._remembered_tokens:
            self._remembered.popitem(last=False)


def _build_cache(rules: Generic, transport: TransportFactory | None, clock: Clock, policy: CachePolicy) -> JwksCache:
    fetcher = DocumentFetcher(
        transport=transport,
        timeout_seconds=policy.timeout,
        max_bytes=policy.max_bytes,
        allow_loopback_http=rules.allow_loopback_http,
    )
    return JwksCache(rules, fetcher, clock=clock, policy=policy)
