"""Keeps the public keys of load balancers: one address for each key, asked for rarely whatever names tokens carry."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from tegata_verify.alb_tokens import parse_public_key
from tegata_verify.documents import DocumentFetcher, FetchFailed
from tegata_verify.errors import KeysUnavailable, Reason, TokenError
from tegata_verify.keys import Clock, is_within
from tegata_verify.locks import ForkSafeLock

Entry = TypeVar("Entry")

_log = logging.getLogger(__name__)

_NO_SUCH_KEY = frozenset({403, 404})  # an object store without the right to list answers 403 for what is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class AlbKeyPolicy:
    """How long load balancers' keys are kept, and how often they may be asked for; seconds unless said otherwise.

    `new_keys` addresses that we hold no key of are asked in any `new_keys_window`, whatever the number of requests: a
    load balancer changes its key rarely, so a dozen made-up names is an attack. Beyond it the answer is 503, since
    nothing is known about the name. A key is renewed after `fresh`, ahead of time after `refresh_ahead` of it, and
    serves for `stale` after its last good answer while the address cannot be reached. `absent_kept` is for how long a
    name that the address does not know is not asked for again; a key that is answered with 403 or 404 when it is
    renewed is withdrawn at once.

    >>> AlbKeyPolicy(stale=3600).new_keys
    5
    """

    fresh: float = 3600
    refresh_ahead: float = 0.8
    stale: float = 24 * 3600
    retry: float = 5
    new_keys: int = 5
    new_keys_window: float = 60
    absent_kept: float = 60
    absent_names_kept: int = 1024
    max_keys: int = 16
    timeout: float = 5
    max_bytes: int = 8 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    key: EllipticCurvePublicKey
    since: float


class AlbKeys:
    """The keys, by address. At most one fetch of each address is in flight, and it belongs to the cache."""

    def __init__(self, fetcher: DocumentFetcher, *, clock: Clock, policy: AlbKeyPolicy) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._policy = policy
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._asked: deque[float] = deque(maxlen=max(1, policy.new_keys))
        self._outages: dict[str, float] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._lock = ForkSafeLock()  # a guard for threads and one for asyncio may share the cache

    async def get_key(self, url: str) -> EllipticCurvePublicKey:
        """Return the key at `url`. Raises `TokenError` if there is none, `KeysUnavailable` if that cannot be known."""
        now = self._clock()
        kept = self._kept.get(url)
        if kept is None:
            await self._ask_for_new(url, now)
        elif not is_within(kept.since, self._policy.fresh, now):
            await self._renew(url, kept, now)
        elif not is_within(kept.since, self._policy.fresh * self._policy.refresh_ahead, now):
            self._renewal(url, now)
        return self._usable(url)

    async def aclose(self) -> None:
        """Stop fetches that are still under way."""
        running = [task for url in list(self._fetches) if (task := self._running(url)) is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _usable(self, url: str) -> EllipticCurvePublicKey:
        now = self._clock()
        with self._lock:
            kept = self._kept.get(url)
            if kept is not None and self._serves(kept, now):
                self._kept.move_to_end(url)
                return kept.key
        if url in self._absent:
            raise TokenError(Reason.UNKNOWN_KEY)
        raise KeysUnavailable(math.ceil(self._policy.retry), "the load balancer's key cannot be had")

    async def _ask_for_new(self, url: str, now: float) -> None:
        running = self._running(url)
        if running is None:
            absent_since = self._absent.get(url)
            if absent_since is not None and is_within(absent_since, self._policy.absent_kept, now):
                return
            with self._lock:
                self._absent.pop(url, None)
            if self._is_resting(url, now):
                return
            self._spend(now)
            running = self._start(url)
        await asyncio.shield(running)

    def _spend(self, now: float) -> None:
        """Take one of the fetches that strangers' key names may cause. Raises `KeysUnavailable`."""
        asked, window = self._asked, self._policy.new_keys_window
        with self._lock:
            if len(asked) == asked.maxlen and is_within(asked[0], window, now):
                wait = math.ceil(asked[0] + window - now)
                raise KeysUnavailable(wait, "too many unknown keys of load balancers")
            asked.append(now)

    async def _renew(self, url: str, kept: _Kept, now: float) -> None:
        # During an outage nobody waits for an answer that will hardly come, as long as there is a key that serves.
        waits = url not in self._outages or not self._serves(kept, now)
        fetch = self._renewal(url, now)
        if fetch is not None and waits:
            await asyncio.shield(fetch)

    def _serves(self, kept: _Kept, now: float) -> bool:
        return is_within(kept.since, max(self._policy.stale, self._policy.fresh), now)

    def _renewal(self, url: str, now: float) -> asyncio.Task[None] | None:
        running = self._running(url)
        if running is None and not self._is_resting(url, now):
            running = self._start(url)
        return running

    def _is_resting(self, url: str, now: float) -> bool:
        return is_within(self._outages.get(url, -math.inf), self._policy.retry, now)

    def _running(self, url: str) -> asyncio.Task[None] | None:
        fetch = self._fetches.get(url)
        # A test client runs each request in a loop of its own: the task of another loop would never wake us.
        if fetch is None or fetch.done() or fetch.get_loop() is not asyncio.get_running_loop():
            return None
        return fetch

    def _start(self, url: str) -> asyncio.Task[None]:
        fetch = asyncio.create_task(self._fetch(url), name=f"tegata-verify: key at {url}")
        self._fetches[url] = fetch
        return fetch

    async def _fetch(self, url: str) -> None:
        try:
            body = await self._fetcher.fetch_body(url, accept="text/plain, application/x-pem-file, */*")
            self._keep(url, parse_public_key(body.content or b""))
        except FetchFailed as error:
            if error.status in _NO_SUCH_KEY:
                self._forget(url)
            else:
                self._rest(url, error)
        except ValueError as error:
            # A broken answer must not take away a key that works.
            self._rest(url, error)
        finally:
            if self._fetches.get(url) is asyncio.current_task():
                del self._fetches[url]

    def _keep(self, url: str, key: EllipticCurvePublicKey) -> None:
        with self._lock:
            self._outages.pop(url, None)
            _put(self._kept, url, _Kept(key, self._clock()), self._policy.max_keys)

    def _forget(self, url: str) -> None:
        """Take a key that is no longer published away, and remember that it is not."""
        with self._lock:
            self._kept.pop(url, None)
            self._outages.pop(url, None)
            _put(self._absent, url, self._clock(), self._policy.absent_names_kept)
        _log.warning("there is no key of a load balancer at %s", url)

    def _rest(self, url: str, error: Exception) -> None:
        now = self._clock()
        with self._lock:
            # Only what still matters is remembered, so that made-up names cannot fill the memory.
            self._outages = {
                other: since
                for other, since in self._outages.items()
                if other in self._kept or is_within(since, self._policy.retry, now)
            } | {url: now}
        _log.warning("the key of a load balancer at %s cannot be had: %s", url, error)


def _put(memory: OrderedDict[str, Entry], name: str, entry: Entry, most: int) -> None:
    memory[name] = entry
    memory.move_to_end(name)
    while len(memory) > most:
        memory.popitem(last=False)
