"""What the service tells its `Observer`: the names of figures and acts, in one place. None carries a value."""

from __future__ import annotations

from tegata_credentials.observer import CALLS, READ, READ_FAILED

FETCH_SUCCEEDED = "SecretFetchSucceeded"
"""A version was read from the store (Count; dimension `source`)."""
FETCH_FAILED = "SecretFetchFailed"
"""The store did not give it (Count; `source`, `reason`: the word of the error)."""
FETCH_THROTTLED = "SecretFetchThrottled"
"""Of these, how often the store still said "slow down" after the last retry (Count; `source`)."""
FETCH_DURATION = "SecretFetchDuration"
"""How long the store took, also when it failed (Milliseconds; `source`)."""
STORE_CALLS = CALLS
"""Requests to the store behind these, each retry counted; of stores on a network (Count; `source`)."""
CACHE_HITS = "SecretCacheHits"
"""Reads that were answered from memory; added up and told with the next fetch (Count)."""
STALE_SERVED = "SecretStaleServed"
"""Reads that got a value past its life because the store did not answer; told like hits (Count)."""
VERSION_CHANGED = "SecretVersionChanged"
"""Another version than before was read (Count)."""
CALLBACK_FAILED = "SecretChangeCallbackFailed"
"""A callback of `on_change` has raised (Count)."""

CHANGED = "secret.changed"
"""`secret`, `before`, `version`."""

__all__ = [
    "CACHE_HITS",
    "CALLBACK_FAILED",
    "CHANGED",
    "FETCH_DURATION",
    "FETCH_FAILED",
    "FETCH_SUCCEEDED",
    "FETCH_THROTTLED",
    "READ",
    "READ_FAILED",
    "STALE_SERVED",
    "STORE_CALLS",
    "VERSION_CHANGED",
]
