"""The way to the server, step by step: its name, its port, whether PostgreSQL answers and speaks TLS, its certificate.

PostgreSQL §55.2.11 (SSLRequest): the client sends eight bytes, the server answers S or N before any password is sent.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from tegata_credentials.doctor.report import Check, failed, ok, skipped
from tegata_credentials.settings import DatabaseSettings

TIMEOUT_SECONDS = 5.0
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_EXPIRED, _NOT_YET_VALID, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64  # X509_V_ERR_* of OpenSSL


@dataclass(frozen=True, slots=True)
class Way:
    """What was found between us and the server."""

    checks: list[Check]
    offers_tls: bool = False


async def check_name(settings: DatabaseSettings) -> Check:
    """Resolve the host."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            found = await loop.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return failed("name", "host_unknown", host=settings.host)
    addresses = sorted({str(each[4][0]) for each in found})
    return ok("name", f"{settings.host} is {', '.join(addresses)}")


async def check_way(
    settings: DatabaseSettings, context: ssl.SSLContext | None, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> Way:
    """Connect, ask for TLS and complete it with `context`; without one, only see whether TLS is offered."""
    case: dict[str, Any] = {"host": settings.host, "port": settings.port}
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _talk(settings, context, case)
    except TimeoutError:
        return Way([failed("port", "port_silent", **case)])
    except ConnectionRefusedError:
        return Way([failed("port", "port_closed", **case)])
    except OSError:
        return Way([failed("port", "port_silent", **case)])


async def _talk(settings: DatabaseSettings, context: ssl.SSLContext | None, case: dict[str, Any]) -> Way:
    reader, writer = await asyncio.open_connection(settings.host, settings.port)
    try:
        writer.write(_SSL_REQUEST)
        with suppress(ConnectionError):
            await writer.drain()
        try:
            answer = await reader.read(1)
        except ConnectionError:
            answer = b""
        if answer not in (b"S", b"N"):
            return Way([failed("port", "no_postgresql", **case)])
        reached = ok("port", "a PostgreSQL answers at {host}:{port}".format(**case))
        if answer == b"N":
            return Way([reached, failed("tls", "tls_off") if context else skipped("tls", "the server speaks no TLS")])
        if context is None:
            return Way([reached, skipped("tls", "offered; the certificate is not checked")], offers_tls=True)
        return Way([reached, await _complete(writer, context, settings.host)], offers_tls=True)
    finally:
        writer.transport.abort()


async def _complete(writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str) -> Check:
    try:
        await writer.start_tls(context, server_hostname=host, ssl_handshake_timeout=TIMEOUT_SECONDS)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_WRONG_NAME, _WRONG_ADDRESS):
            return failed("tls", "tls_wrong_name", host=host)
        expired = error.verify_code in (_EXPIRED, _NOT_YET_VALID)
        return failed("tls", "tls_expired" if expired else "tls_untrusted")
    except (ssl.SSLError, ConnectionError):
        return failed("tls", "tls_broken")
    return ok("tls", f"the server proves with a certificate that it is {host}")


def read_date(url: str, *, clock: Callable[[], float]) -> float | None:
    """Return by how many seconds the clock of a web server is ahead of ours; None if it does not tell.

    RFC 9110 §6.6.1. The header counts whole seconds, so the answer is good to a second and half the way there.
    """
    try:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    except (ValueError, http.client.HTTPException):
        return None
    try:
        before = clock()
        connection.request("HEAD", parts.path or "/")
        date = connection.getresponse().headers.get("Date")
        return None if date is None else parsedate_to_datetime(date).timestamp() - (before + clock()) / 2
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
