"""What the cache has of one secret: the place where it is kept, and what a reader is given of it."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from tegata_credentials.secret_service.entry import Entry
from tegata_credentials.secret_service.flights import Flight
from tegata_credentials.versions import SecretVersion


class Slot:
    """One secret at one stage: what is known of it, and the fetch under way.

    >>> slot = Slot("mail", "AWSCURRENT")
    >>> slot.entry.version is None, slot.flight is None
    (True, True)
    """

    __slots__ = ("entry", "flight", "hits", "secret", "stage", "stale", "told_hits", "told_stale")

    def __init__(self, secret: str, stage: str) -> None:
        self.secret = secret
        self.stage = stage
        self.entry = Entry()
        self.flight: Flight | None = None
        self.hits = itertools.count()  # `next` of it is one step, also with many threads
        self.stale = itertools.count()
        self.told_hits = self.told_stale = 0


class Reading(NamedTuple):
    """What a reader gets: the entry, the version in it, and whether that is past its life.

    >>> from tegata_credentials.secret_service import SecretService, SecretsInMemory
    >>> from tegata_credentials.secret_service.flights import drive
    >>> cache, slot = SecretService(SecretsInMemory({"mail": {}})).reach("mail")
    >>> reading = drive(cache.read(slot), print)
    >>> reading.version.version, reading.stage, reading.is_stale
    ('v1', 'AWSCURRENT', False)
    """

    entry: Entry
    version: SecretVersion
    stage: str
    is_stale: bool
