"""The public keys of one issuer: read once, kept, renewed ahead of time, and survived without (RFC 7517)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from tegata_verify.documents import Document, DocumentFetcher, FetchFailed
from tegata_verify.errors import KeysUnavailable
from tegata_verify.issuers import Generic
from tegata_verify.jwks import KeySet, VerificationKey, parse_key_set

Clock = Callable[[], float]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long keys are kept, and how often an issuer may be asked for them; seconds throughout.

    The issuer's `max-age` counts between `min_ttl` and `max_ttl`; `max_ttl` is also how long a withdrawn key can stay
    good. `stale` is for how long, after the last good answer, known keys serve on while the issuer does not answer.
    """

    default_ttl: float = 300
    min_ttl: float = 60
    max_ttl: float = 3600
    refresh_ahead: float = 0.8
    stale: float = 6 * 3600
    retry: float = 5
    unknown_kid: float = 30
    unknown_kid_kept: float = 60
    unknown_kids_kept: int = 1024
    timeout: float = 5
    max_bytes: int = 256 * 1024
    max_keys: int = 64

    def ttl(self, max_age_seconds: int | None) -> float:
        """Return for how long an answer counts as fresh."""
        wanted = self.default_ttl if max_age_seconds is None else max_age_seconds
        return min(max(wanted, self.min_ttl), self.max_ttl)


@dataclass(frozen=True, slots=True)
class _Copy:
    """The issuer's last good answer."""

    keys: KeySet
    uri: str
    etag: str | None
    since: float
    ttl: float

    def younger_than(self, seconds: float, now: float) -> bool:
        return is_within(self.since, seconds, now)


@dataclass(frozen=True, slots=True)
class _Outage:
    since: float
    text: str


class JwksCache:
    """Keeps the keys of one issuer.

    At most one fetch is in flight, whatever the number of waiters, and it belongs to the cache: a waiter that is
    cancelled leaves it running for the others.
    """

    def __init__(
        self, issuer: Generic, fetcher: DocumentFetcher, *, clock: Clock, policy: CachePolicy | None = None
    ) -> None:
        self._issuer = issuer
        self._fetcher = fetcher
        self._clock = clock
        self._policy = policy or CachePolicy()
        self._copy: _Copy | None = None
        self._outage: _Outage | None = None
        self._discovered: tuple[str, float] | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._refetched_at = -math.inf
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def find_keys(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Return the keys named `kid`, or all keys for None; nothing if the issuer has no such key.

        Raises `KeysUnavailable` if the issuer cannot be asked and what is known is too old or does not hold `kid`.
        """
        now = self._clock()
        copy = self._copy
        if copy is None or not copy.younger_than(copy.ttl, now):
            await self._renew(now)
        elif not copy.younger_than(copy.ttl * self._policy.refresh_ahead, now):
            self._renew_if_allowed(now)
        found = self._known(kid)
        if kid is not None and not found:
            found = await self._look_again(kid)
        return found

    async def aclose(self) -> None:
        """Stop a fetch that is still under way."""
        fetch = self._running()
        if fetch is not None:
            fetch.cancel()
            await asyncio.wait([fetch])

    def _known(self, kid: str | None) -> tuple[VerificationKey, ...]:
        return self._copy.keys.find(kid) if self._copy is not None else ()

    def _usable(self, now: float) -> bool:
        return self._copy is not None and self._copy.younger_than(max(self._policy.stale, self._copy.ttl), now)

    async def _renew(self, now: float) -> None:
        fetch = self._renew_if_allowed(now)
        if self._usable(now) and self._outage is not None:
            return  # during an outage nobody waits for an answer that will hardly come
        if fetch is not None:
            await asyncio.shield(fetch)
        if not self._usable(self._clock()):
            raise self._unavailable()

    async def _look_again(self, kid: str) -> tuple[VerificationKey, ...]:
        """Ask the issuer for a key that is not in our copy, within the limits that make guessing kids cheap for us."""
        running = self._running()
        if running is not None:
            await asyncio.shield(running)
            if found := self._known(kid):
                return found
        now = self._clock()
        asked_lately = is_within(self._refetched_at, self._policy.unknown_kid, now)
        if not asked_lately and not is_within(self._unknown.get(kid, -math.inf), self._policy.unknown_kid_kept, now):
            self._refetched_at = now
            await asyncio.shield(self._start())
            if found := self._known(kid):
                return found
            self._remember_unknown(kid, now)
        if self._outage is not None:
            raise self._unavailable()
        return self._known(kid)

    def _remember_unknown(self, kid: str, now: float) -> None:
        self._unknown[kid] = now
        self._unknown.move_to_end(kid)
        while len(self._unknown) > self._policy.unknown_kids_kept:
            self._unknown.popitem(last=False)

    def _unavailable(self) -> KeysUnavailable:
        if self._outage is None:
            return KeysUnavailable(1)
        wait = self._outage.since + self._policy.retry - self._clock()
        return KeysUnavailable(math.ceil(min(max(wait, 1), self._policy.retry)), self._outage.text)

    def _running(self) -> asyncio.Task[None] | None:
        fetch = self._fetch
        # A test client runs each request in a loop of its own: the task of another loop would never wake us.
        if fetch is None or fetch.done() or fetch.get_loop() is not asyncio.get_running_loop():
            return None
        return fetch

    def _renew_if_allowed(self, now: float) -> asyncio.Task[None] | None:
        """Return a fetch to wait for, or None while a failed one is too recent to try again."""
        resting = self._outage is not None and is_within(self._outage.since, self._policy.retry, now)
        return self._running() if resting else self._start()

    def _start(self) -> asyncio.Task[None]:
        """Return the fetch under way, or start one."""
        fetch = self._running()
        if fetch is None:
            fetch = asyncio.create_task(self._refresh(), name=f"tegata-verify: keys of {self._issuer.issuer}")
            self._fetch = fetch
        return fetch

    async def _refresh(self) -> None:
        try:
            self._copy = await self._load()
            self._outage = None
        except FetchFailed as error:
            self._outage = _Outage(self._clock(), str(error))
            _log.warning("keys of issuer %s cannot be fetched: %s", self._issuer.issuer, error)

    async def _load(self) -> _Copy:
        old = self._copy
        uri = self._issuer.jwks_uri or self._known_uri() or await self._discover()
        etag = old.etag if old is not None and old.uri == uri else None
        document = await self._fetcher.fetch(uri, etag=etag)
        since, ttl = self._clock(), self._policy.ttl(document.max_age_seconds)
        if document.content is None and old is not None:
            return replace(old, since=since, ttl=ttl)
        return _Copy(self._parse(document), uri, document.etag, since, ttl)

    def _parse(self, document: Document) -> KeySet:
        try:
            return parse_key_set(document.content or {}, max_keys=self._policy.max_keys)
        except ValueError as error:
            raise FetchFailed(str(error)) from error

    def _known_uri(self) -> str | None:
        # While all is well the known address is asked; after a failure, or in time, discovery may name a new one.
        if self._discovered is None or self._outage is not None:
            return None
        uri, since = self._discovered
        return uri if since <= self._clock() < since + self._policy.max_ttl else None

    async def _discover(self) -> str:
        """Return the `jwks_uri` of the issuer's own metadata. OIDC Discovery §4.3, RFC 8414 §3.3."""
        metadata = (await self._fetcher.fetch(self._issuer.metadata_url)).content or {}
        if metadata.get("issuer") != self._issuer.issuer:
            raise FetchFailed("the discovery document is for another issuer")
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str):
            raise FetchFailed("the discovery document names no jwks_uri")
        self._discovered = uri, self._clock()
        return uri


def is_within(since: float, seconds: float, now: float) -> bool:
    """Tell whether `now` is in the time that began at `since`; for a clock that was set back it is over."""
    return since <= now < since + seconds
