"""The public keys of one issuer: read once, kept, renewed ahead of time, and survived without (RFC 7517)."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from tegata_verify.documents import Document, DocumentFetcher, FetchFailed
from tegata_verify.errors import KeysUnavailable
from tegata_verify.issuers import Generic
from tegata_verify.jwks import KeySet, VerificationKey, parse_key_set
from tegata_verify.locks import ForkSafeLock

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


class _Flight:
    """A fetch under way, in the event loop and the process that began it.

    It belongs to the cache: a waiter that is cancelled leaves it running for the others.
    """

    __slots__ = ("_landed", "_loop", "_process", "task")

    def __init__(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._process = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._landed: Future[None] = Future()
        self._landed.set_running_or_notify_cancel()  # from now on no waiter can cancel it
        self.task = asyncio.create_task(work, name=name)
        self.task.add_done_callback(lambda _: self._landed.set_result(None))

    def is_alive(self) -> bool:
        """Tell whether it will end by itself: not in a loop that was left, nor in the process we were forked from."""
        return self._process == os.getpid() and not self._landed.done() and self._loop.is_running()

    def is_ours(self) -> bool:
        """Tell whether it is in the running event loop."""
        return self._loop is asyncio.get_running_loop()

    async def wait(self, patience_seconds: float) -> None:
        """Return when it has landed; from another event loop, which may stop at any moment, not later than that."""
        if self.is_ours():
            await asyncio.wait([self.task])
            if not self.task.cancelled():
                self.task.result()  # raises what nobody expected
        else:
            await asyncio.wait([asyncio.wrap_future(self._landed)], timeout=patience_seconds)


class JwksCache:
    """Keeps the keys of one issuer.

    At most one fetch is under way, whatever the number of waiters, of threads and of event loops; each process has its
    own. What is at hand is given without waiting, to any thread.
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
        self._flight: _Flight | None = None
        self._lock = ForkSafeLock()  # for the decision to fetch
        self._refetched_at = -math.inf
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def find_keys(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Return the keys named `kid`, or all keys for None; nothing if the issuer has no such key.

        Raises `KeysUnavailable` if the issuer cannot be asked and what is known is too old or does not hold `kid`.
        """
        # The first fetch may be for keys at all, the second for this one, and either may be lost with its event loop.
        for _ in range(4):
            found = self.find_at_hand(kid)
            if found is not None:
                if self.is_renewal_due():
                    self._join()
                return found
            flight = self._join(kid)
            if flight is not None:
                await flight.wait(2 * self._policy.timeout + 1)
        raise self._unavailable()

    def find_at_hand(self, kid: str | None) -> tuple[VerificationKey, ...] | None:
        """Return what `find_keys` would, None if it would have to wait. Raises `KeysUnavailable`."""
        now = self._clock()
        copy = self._copy
        if copy is None or not self._is_usable(copy, now):
            if self._is_resting(now) and not self._is_fetching():
                raise self._unavailable()
            return None
        if self._outage is None and not copy.younger_than(copy.ttl, now):
            return None  # during an outage nobody waits for an answer that will hardly come
        found = copy.keys.find(kid)
        if found or kid is None:
            return found
        # In this order: a fetch that another thread has begun in between is under way, or its answer is here.
        if self._may_look_again(kid, now) or self._is_fetching():
            return None
        if self._outage is not None:
            raise self._unavailable()
        return () if self._copy is copy else self.find_at_hand(kid)

    def is_renewal_due(self) -> bool:
        """Tell whether `renew` should be started, though nobody need wait for it."""
        now = self._clock()
        copy = self._copy
        if copy is None or copy.younger_than(copy.ttl * self._policy.refresh_ahead, now):
            return False
        return not self._is_resting(now) and not self._is_fetching()

    async def renew(self) -> None:
        """Fetch the keys, unless they are fresh or an outage is too recent to try again."""
        if self.is_renewal_due():
            flight = self._join()
            if flight is not None:
                await flight.wait(2 * self._policy.timeout + 1)

    async def aclose(self) -> None:
        """Stop a fetch that is still under way in this event loop."""
        flight = self._flight
        if flight is not None and flight.is_alive() and flight.is_ours():
            flight.task.cancel()
            await asyncio.wait([flight.task])

    def _is_usable(self, copy: _Copy, now: float) -> bool:
        return copy.younger_than(max(self._policy.stale, copy.ttl), now)

    def _is_resting(self, now: float) -> bool:
        return self._outage is not None and is_within(self._outage.since, self._policy.retry, now)

    def _is_fetching(self) -> bool:
        flight = self._flight
        return flight is not None and flight.is_alive()

    def _may_look_again(self, kid: str, now: float) -> bool:
        """Tell whether to ask for a key that is not in our copy, within limits that make guessing kids cheap for us."""
        return (
            not is_within(self._refetched_at, self._policy.unknown_kid, now)
            and not is_within(self._unknown.get(kid, -math.inf), self._policy.unknown_kid_kept, now)
            and not self._is_resting(now)
        )

    def _join(self, kid: str | None = None) -> _Flight | None:
        """Return the fetch under way, or start the one that is due; None while there must be none."""
        with self._lock:
            flight = self._flight
            if flight is not None and flight.is_alive():
                return flight
            now = self._clock()
            copy = self._copy
            if self._is_resting(now):
                return None
            young = copy is not None and copy.younger_than(copy.ttl * self._policy.refresh_ahead, now) and copy
            # Another thread was faster, or the copy is good and lacks this one key.
            if young and (kid is None or young.keys.find(kid) or not self._may_look_again(kid, now)):
                return None
            name = f"tegata-verify: keys of {self._issuer.name}"
            self._flight = flight = _Flight(self._refresh(kid), name)
            if young:
                self._refetched_at = now  # after the flight: who finds this finds that
            return flight

    async def _refresh(self, kid: str | None) -> None:
        try:
            self._copy = copy = await self._load()
            self._outage = None
            if kid is not None and not copy.keys.find(kid):
                self._remember_unknown(kid, self._clock())
        except FetchFailed as error:
            self._outage = _Outage(self._clock(), str(error))
            _log.warning("keys of issuer %s cannot be fetched: %s", self._issuer.name, error)

    def _remember_unknown(self, kid: str, now: float) -> None:
        self._unknown[kid] = now
        self._unknown.move_to_end(kid)
        while len(self._unknown) > self._policy.unknown_kids_kept:
            self._unknown.popitem(last=False)

    def _unavailable(self) -> KeysUnavailable:
        outage = self._outage
        if outage is None:
            return KeysUnavailable(1)
        wait = outage.since + self._policy.retry - self._clock()
        return KeysUnavailable(math.ceil(min(max(wait, 1), self._policy.retry)), outage.text)

    async def _load(self) -> _Copy:
        old = self._copy
        uri = self._issuer.jwks_uri or self._known_uri() or await self._discover()
        etag = old.etag if old is not None and old.uri == uri else None
        named_by = self._issuer.metadata_url if self._issuer.jwks_uri is None else None
        document = await self._fetcher.fetch(uri, etag=etag, named_by=named_by)
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
        if metadata.get("issuer") != self._issuer.metadata_issuer:
            raise FetchFailed("the discovery document is for another issuer")
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str):
            raise FetchFailed("the discovery document names no jwks_uri")
        self._discovered = uri, self._clock()
        return uri


def is_within(since: float, seconds: float, now: float) -> bool:
    """Tell whether `now` is in the time that began at `since`; for a clock that was set back it is over."""
    return since <= now < since + seconds
