"""One rotation that is delivered several times at once, as Secrets Manager may do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.event import STEPS, Step


def deliver_at_once(times: int, do: Callable[[Step], object]) -> list[CredentialError]:
    """Do the steps in so many threads, which begin each step together; return how they failed."""
    failures: list[CredentialError] = []
    barrier = threading.Barrier(times)

    def deliver(_: int) -> None:
        for step in STEPS:
            barrier.wait(60)
            try:
                do(step)
            except CredentialError as error:
                failures.append(error)

    with ThreadPoolExecutor(times) as threads:
        list(threads.map(deliver, range(times)))
    return failures
