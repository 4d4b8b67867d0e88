"""Ports of loopback for servers that are told where to listen."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

_LOWEST, _COUNT = 20_000, 12_000


def free_port() -> int:
    """Return a port of loopback that nobody listens at now.

    It is none of those that the system gives to whoever asks for any (Linux: 32768 and above): one of these may be
    somebody else's before it is used, or while a server is restarted.
    """
    while True:
        port = _LOWEST + secrets.randbelow(_COUNT)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
