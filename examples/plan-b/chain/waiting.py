"""Free ports, and waiting for something to be so."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

import httpx2

PATIENCE_SECONDS = 60

UNUSED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: reading all authorities of the world takes them longer than a request."""


def free_port() -> int:
    """Return a port that nobody listens on, at any loopback address; not one that a connection could be given soon."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))  # noqa: S104 - nothing listens on it: it is to be free on 127.0.0.2 too
            return port


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return when `condition` holds. Raises `TimeoutError` after a minute."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain: {what}")
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Tell whether `url` is answered with 200."""
    try:
        return httpx2.get(url, timeout=5, trust_env=False, verify=UNUSED).status_code == 200
    except httpx2.HTTPError:
        return False
