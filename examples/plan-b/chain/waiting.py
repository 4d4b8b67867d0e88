"""Free ports, and waiting for something to be so."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Callable

import httpx2

PATIENCE_SECONDS = 120
"""For what must come about, on a machine that has other things to do, too."""

UNUSED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: reading all authorities of the world takes them longer than a request."""


def free_port() -> int:
    """Return a port that nobody listens on, at any loopback address, and that nobody else gets while this process runs.

    Not one that the system gives to connections. Whoever wants to listen there must do it with `SO_REUSEADDR`, as
    servers do.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        keeper = socket.socket()
        try:
            keeper.bind(("0.0.0.0", port))  # noqa: S104 - it never listens: the port is kept on 127.0.0.2 too
        except OSError:
            keeper.close()
            continue
        # From now on a server may have the port as well; another process that looks for a free one does not get it.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.detach()  # open until this process ends
        return port


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return when `condition` holds. Raises `TimeoutError` when patience is at its end."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain: {what}")
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Tell whether `url` is answered with 200."""
    try:
        return httpx2.get(url, timeout=PATIENCE_SECONDS, trust_env=False, verify=UNUSED).status_code == 200
    except httpx2.HTTPError:
        return False
