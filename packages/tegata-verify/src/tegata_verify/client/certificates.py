"""A client certificate in files that somebody renews (RFC 8705 §2, §3)."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx2

from tegata_verify.locks import ForkSafeLock

_Signature = tuple[tuple[int, int, int], ...]


class CertificateFiles:
    """The TLS context of a client certificate, made anew when one of the files has changed.

    While a renewal is half done, and certificate and key do not match, the former context serves on. `ca_file` holds
    the authorities that servers are judged by, if these are not the machine's. `password` is the key's.

    >>> CertificateFiles("/run/tls/tls.crt", "/run/tls/tls.key", ca_file="/run/tls/ca.crt")
    CertificateFiles('/run/tls/tls.crt', '/run/tls/tls.key')
    """

    def __init__(
        self,
        certificate_file: str | Path,
        key_file: str | Path,
        *,
        ca_file: str | Path | None = None,
        password: Callable[[], str] | None = None,
    ) -> None:
        self._certificate_file = Path(certificate_file)
        self._key_file = Path(key_file)
        self._ca_file = None if ca_file is None else Path(ca_file)
        self._password = password
        self._lock = ForkSafeLock()
        self._made: tuple[_Signature, ssl.SSLContext] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._certificate_file)!r}, {str(self._key_file)!r})"

    def context(self) -> ssl.SSLContext:
        """Return a context with the certificate of the moment. Raises `OSError` if there has never been a good one."""
        with self._lock:
            try:
                signature = self._look()
                if self._made is None or self._made[0] != signature:
                    self._made = signature, self._load()
            except (OSError, ValueError):
                if self._made is None:
                    raise
            return self._made[1]

    def _look(self) -> _Signature:
        files = [self._certificate_file, self._key_file, *([self._ca_file] if self._ca_file else [])]
        found = [os.stat(path) for path in files]  # follows links: secret volumes are changed by a link
        return tuple((entry.st_mtime_ns, entry.st_size, entry.st_ino) for entry in found)

    def _load(self) -> ssl.SSLContext:
        if self._ca_file is not None:
            context = ssl.create_default_context(cafile=self._ca_file)
        else:
            context = httpx2.create_ssl_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate_file, self._key_file, self._password or "")
        return context
