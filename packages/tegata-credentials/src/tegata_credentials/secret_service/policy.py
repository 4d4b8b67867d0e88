"""How long a secret is used, how often it is asked for, and how long anybody waits."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tegata_credentials.errors import (
    CredentialError,
    SecretAccessDenied,
    SecretError,
    SecretNotFound,
    SecretThrottled,
)


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """The figures of the cache: seconds, where nothing else is said. The defaults suit a service that rotates.

    >>> CachePolicy().ttl
    300.0
    >>> CachePolicy(ttl=60.0, max_stale=3600.0).max_stale
    3600.0
    """

    ttl: float = 300.0
    """A value is read again after so long."""
    jitter: float = 0.1
    """Up to this share is taken off each life and added to each pause, so that a fleet does not ask in step."""
    refresh_at: float = 0.8
    """At this share of its life a value is read again in the background, while everybody goes on using it."""
    max_stale: float = 86_400.0
    """While the store does not answer, a value is used until it is so old. Never after not_found or access_denied."""
    patience: float = 0.5
    """When a value is past its life, callers wait so long for the new one before they get the old one; counted once
    from the beginning of the fetch. With 0 the old one is given at once."""
    fetch_timeout: float = 10.0
    """Callers without any value wait so long for a fetch."""
    slow_after: float = 2.0
    """A fetch that takes longer does not count among `threads`, so that it starves no other secret."""
    threads: int = 4
    """How many fetches run at once, besides slow ones."""
    unavailable_pause: float = 5.0
    """After such a failure nobody asks again for so long; the pause doubles with each failure in a row."""
    not_found_pause: float = 10.0
    throttled_pause: float = 10.0
    access_denied_pause: float = 30.0
    longest_pause: float = 30.0
    budget: float = 5.0
    """How long a refused login waits for the end of a rotation."""
    first_recheck: float = 0.25
    """When the store has confirmed a refused version, it is asked again no sooner than this; doubles each time."""
    longest_recheck: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 0:
                raise CredentialError(f"CachePolicy.{field.name} must not be negative")
        if self.threads < 1 or not self.ttl or not self.slow_after or not self.first_recheck:
            raise CredentialError("CachePolicy.threads, ttl, slow_after and first_recheck must be more than nothing")
        if self.jitter >= 1 or self.refresh_at > 1:
            raise CredentialError("CachePolicy.jitter and refresh_at are shares of one")

    def failure_pause(self, error: SecretError, failures: int) -> float:
        """Return for how long the `failures`-th failure in a row is repeated to everybody who asks."""
        first = self.unavailable_pause
        if isinstance(error, SecretNotFound):
            first = self.not_found_pause
        elif isinstance(error, SecretThrottled):
            first = self.throttled_pause
        elif isinstance(error, SecretAccessDenied):
            first = self.access_denied_pause
        return min(self.longest_pause, first * 2.0 ** min(failures - 1, 10))

    def recheck_pause(self, times: int) -> float:
        """Return how long a refused version stands after the store has confirmed it `times` times in a row."""
        return min(self.longest_recheck, self.first_recheck * 2.0 ** min(times - 1, 10))
