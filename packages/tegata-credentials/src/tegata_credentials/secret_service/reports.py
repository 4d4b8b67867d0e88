"""What the cache tells a program of its work: figures, audit lines and a log, never a value."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from tegata_credentials.errors import SecretError, SecretThrottled
from tegata_credentials.observer import CountsRequests, Observer
from tegata_credentials.secret_service import figures
from tegata_credentials.secret_service.entry import Entry
from tegata_credentials.secret_service.slot import Slot
from tegata_credentials.sources import SecretSource
from tegata_credentials.versions import SecretVersion

log = logging.getLogger("tegata_credentials.secrets")

Callback = Callable[[str, SecretVersion], None]


class Reports:
    """Tells an observer, and the log.

    >>> from tegata_credentials.observer import NoObserver
    >>> from tegata_credentials.secret_service import SecretsInMemory
    >>> Reports(SecretsInMemory({}), NoObserver()).reads(Slot("mail", "AWSCURRENT"))
    """

    def __init__(self, source: SecretSource, observer: Observer) -> None:
        self._source = source
        self._observer = observer
        self.restart()

    def restart(self) -> None:
        """Begin anew in a forked process, where a lock may be held by nobody."""
        self._lock = threading.Lock()

    def fetched(self, seconds: float | None, outcomes: Sequence[tuple[Slot, SecretVersion | SecretError]]) -> None:
        """Tell how a fetch has ended for each secret, and how long it took, if there was one."""
        if seconds is not None:
            self._tell_duration(seconds)
        for slot, outcome in outcomes:
            self._tell(slot, outcome)

    def _tell(self, slot: Slot, outcome: SecretVersion | SecretError) -> None:
        scheme = self._source.scheme
        facts = {"secret": outcome.secret, "stage": slot.stage, "source": scheme}
        if isinstance(outcome, SecretError):
            why = facts | {"reason": outcome.reason}
            log.warning("secret not read: %(secret)s: %(reason)s", why, extra=why)
            self._observer.metric(figures.FETCH_FAILED, reason=outcome.reason, source=scheme)
            if isinstance(outcome, SecretThrottled):
                self._observer.metric(figures.FETCH_THROTTLED, source=scheme)
            self._observer.audit(figures.READ_FAILED, **why)
        else:
            self._observer.metric(figures.FETCH_SUCCEEDED, source=scheme)
            self._observer.audit(figures.READ, version=outcome.version, **facts)
        self.reads(slot)

    def _tell_duration(self, seconds: float) -> None:
        self._observer.metric(figures.FETCH_DURATION, seconds * 1e3, "Milliseconds", source=self._source.scheme)
        if isinstance(self._source, CountsRequests) and (requests := self._source.take_requests()):
            self._observer.metric(figures.STORE_CALLS, requests, source=self._source.scheme)

    def reads(self, slot: Slot) -> None:
        """Tell how many reads were answered from memory since this was last told."""
        with self._lock:  # a fetch may end while another begins, or while the service is closed
            hits, stale = next(slot.hits), next(slot.stale)
            new_hits, new_stale = hits - slot.told_hits, stale - slot.told_stale
            slot.told_hits, slot.told_stale = hits + 1, stale + 1
        if new_hits > 0:
            self._observer.metric(figures.CACHE_HITS, new_hits)
        if new_stale > 0:
            self._observer.metric(figures.STALE_SERVED, new_stale)

    def changed(self, slot: Slot, before: Entry, version: SecretVersion, callbacks: Sequence[Callback]) -> None:
        """Tell that a version has replaced another, and call those who wanted to know."""
        secret = slot.secret
        self._observer.metric(figures.VERSION_CHANGED)
        self._observer.audit(figures.CHANGED, secret=secret, before=str(before.last_seen), version=version.version)
        for callback in callbacks:
            try:
                callback(secret, version)
            except Exception as error:  # noqa: BLE001 - of the program's own; the others are to be told all the same
                why = {"secret": secret, "error": type(error).__name__}
                log.error("on_change callback failed: %(secret)s: %(error)s", why, extra=why)
                self._observer.metric(figures.CALLBACK_FAILED)
