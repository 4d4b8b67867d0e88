"""The judgement of one token, in the two parts that are the same with asyncio and with threads.

Between them lies what may have to be waited for: the issuer's key.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from tegata_verify.claims import numeric_date
from tegata_verify.documents import DocumentFetcher
from tegata_verify.errors import Reason, TokenError
from tegata_verify.issuers import Generic
from tegata_verify.jwks import VerificationKey
from tegata_verify.keys import CachePolicy, Clock, JwksCache
from tegata_verify.memory import TokenMemory
from tegata_verify.outgoing import TransportFactory
from tegata_verify.principal import Principal, build_principal
from tegata_verify.tokens import (
    UnverifiedToken,
    check_claims,
    check_header,
    check_signature,
    choose_key,
    parse_token,
)

_ANY_ISSUER = None  # rules for tokens of whatever `iss`, known by their keys alone
_KNOWN_HEADERS = 64
_KNOWN_HEADER_BYTES = 1024
_REMEMBERED_SECONDS = 60  # also for how long a token outlives the withdrawal of its key from our copy


_Trusted = tuple[Generic, JwksCache]


class Pending(NamedTuple):
    """A token that is good if its issuer's key `kid` signed it and its claims are in order."""

    token: UnverifiedToken
    rules: Generic
    keys: JwksCache
    algorithm: str
    kid: str | None
    digest: bytes
    size: int


class VerifierSettings(TypedDict, total=False):
    """What both kinds of verifier may be given beside their issuers; `Verifier` says what each is."""

    transport: TransportFactory | None
    clock: Clock
    cache_policy: CachePolicy | None
    max_token_bytes: int
    remembered_tokens: int
    remembered_bytes: int


class Verification:
    """What verifiers of one process share: whom they trust, the keys, and the tokens they have seen."""

    def __init__(
        self,
        issuers: tuple[Generic, ...],
        *,
        transport: TransportFactory | None = None,
        clock: Clock = time.time,
        cache_policy: CachePolicy | None = None,
        max_token_bytes: int = 16 * 1024,
        remembered_tokens: int = 4096,
        remembered_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        policy = cache_policy or CachePolicy()
        self.issuers = issuers
        # Not by name: rules for different tenants or services may have one, and be told different addresses.
        self.caches = tuple(_build_cache(rules, transport, clock, policy) for rules in issuers)
        self._trusted = _index_rules(issuers, self.caches)
        self.memory = TokenMemory(max_tokens=remembered_tokens, max_bytes=remembered_bytes)
        self.clock = clock
        # Discovery and keys are two fetches; whoever waits for another thread's must outlast both.
        self.patience_seconds = 2 * policy.timeout + 1
        self._max_token_bytes = max_token_bytes
        self._headers: dict[bytes, Mapping[str, Any]] = {}

    def prepare(self, token: str) -> Principal | Pending:
        """Return who acts if the token is known, and else what is left to check. Raises `TokenError`.

        The order matters: nothing is fetched for a token that cannot become good, and no claim but `iss`, which
        chooses between rules, is read before the signature is checked.
        """
        if len(token) > self._max_token_bytes:
            raise TokenError(Reason.TOKEN_TOO_LARGE)
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self.memory.find(digest, now=self.clock())
        if known is not None:
            return known
        unverified = parse_token(token, max_bytes=self._max_token_bytes, known_headers=self._headers)
        rules, cache = self._find_trusted(unverified.claims.get("iss"))
        algorithm, kid = check_header(unverified.header, rules)
        return Pending(unverified, rules, cache, algorithm, kid, digest, len(token))

    def finish(self, pending: Pending, keys: tuple[VerificationKey, ...]) -> Principal:
        """Return who acts; `keys` are those that the cache has for the token. Raises `TokenError`. RFC 9068 §4."""
        rules, unverified = pending.rules, pending.token.claims
        key = choose_key(
            keys, pending.algorithm, pending.kid, lambda key: rules.accepts_key(key.issuer, unverified.get("iss"))
        )
        check_signature(pending.token, key)
        now = self.clock()
        claims = check_claims(unverified, rules, now=now)
        principal = build_principal(claims, rules)
        until = min(numeric_date(claims, "exp") or 0, now + _REMEMBERED_SECONDS)
        if now < until:
            self.memory.keep(pending.digest, principal, since=now, until=until, size=pending.size)
        if pending.token.header_segment not in self._headers:
            self._keep_header(pending)
        return principal

    def _keep_header(self, pending: Pending) -> None:
        # Only those of good tokens, so that nobody else can fill this.
        if len(pending.token.header_segment) <= _KNOWN_HEADER_BYTES:
            if len(self._headers) >= _KNOWN_HEADERS:
                self._headers.clear()
            self._headers[pending.token.header_segment] = pending.token.header

    def find_cache(self, issuer: str | None) -> JwksCache:
        """Return the keys for tokens with this `iss`. Raises `TokenError`."""
        return self._find_trusted(issuer)[1]

    def _find_trusted(self, issuer: object) -> _Trusted:
        found = self._trusted.get(issuer) if isinstance(issuer, str) else None
        found = found or self._trusted.get(_ANY_ISSUER)
        if found is None:
            raise TokenError(Reason.UNKNOWN_ISSUER)
        return found


class Trusting:
    """What a verifier says without waiting for anybody."""

    verification: Verification

    @property
    def issuers(self) -> tuple[Generic, ...]:
        """What is trusted."""
        return self.verification.issuers

    @property
    def clock(self) -> Clock:
        """What time it is, in seconds since 1970."""
        return self.verification.clock


def _index_rules(issuers: tuple[Generic, ...], caches: tuple[JwksCache, ...]) -> dict[str | None, _Trusted]:
    """Return rules and keys for each value of `iss`. Raises `ValueError` where two rules could be meant."""
    index: dict[str | None, _Trusted] = {}
    for rules, cache in zip(issuers, caches, strict=True):
        for name in rules.accepted_issuers or (_ANY_ISSUER,):
            if name in index:
                raise ValueError("name each issuer once, and at most one without a name")
            index[name] = rules, cache
    if not index:
        raise ValueError("name at least one issuer")
    return index


def _build_cache(rules: Generic, transport: TransportFactory | None, clock: Clock, policy: CachePolicy) -> JwksCache:
    fetcher = DocumentFetcher(
        transport=transport,
        timeout_seconds=policy.timeout,
        max_bytes=policy.max_bytes,
        allow_loopback_http=rules.allow_loopback_http,
    )
    return JwksCache(rules, fetcher, clock=clock, policy=policy)
