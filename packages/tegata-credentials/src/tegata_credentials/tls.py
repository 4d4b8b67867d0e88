"""Decides how a connection is encrypted: a token goes over the wire as it is, so only to a server that is verified.

The rules, for sources whose `auth_method` is neither `password` nor `secret`:

- To another machine TLS is `verify-full`: certificate and name are checked (PostgreSQL documentation, "SSL Support").
- Anything weaker, if asked for in so many words, is refused with `CredentialError`. `allow_unverified_tls=True` permits
  it. `PGSSLMODE` and service files cannot weaken the default.
- To a Unix socket or a loopback address, if named, the driver's own default holds. Whoever can open that socket or port
  on this machine while the database is down would be given the token: on a shared machine ask for verify-full.

Root certificates are looked for in this order: `sslrootcert` (a path, or `system`), `PGSSLROOTCERT`,
`~/.postgresql/root.crt`, the system's store, the package `certifi`. Azure's servers and RDS Proxy have certificates of
public authorities, which the system knows. RDS and Aurora instances have certificates of an authority of Amazon's own:
download its bundle and give the path as `sslrootcert`.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tegata_credentials.errors import CredentialError

VERIFIED = "verify-full"
_PLACES = ("host", "hostaddr", "service")
NO_HOST = (
    "the database URL names no host, so the driver would try sockets in places where anybody may listen: name the "
    "host, or the directory of the socket"
)
_PROTOCOLS = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
_CURE = (
    "use verify-full (it is the default), or pass allow_unverified_tls=True if the network between here and the "
    "database is yours"
)


def is_local(host: str) -> bool:
    """Whether `host` is a Unix socket or a loopback address, judged without asking the network.

    `@name` is a socket of libpq's, but asyncpg and psycopg look for a host of that name: it is not believed.
    """
    if host.startswith("/") or host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_mode(mode: str | None) -> None:
    """Refuse a TLS mode that was asked for and does not verify the server. Raises `CredentialError`."""
    if mode is not None and mode.replace("_", "-") != VERIFIED:
        raise CredentialError(
            f"sslmode must be {VERIFIED}: a token goes over the wire as it is, and a server that is not verified could "
            f"keep it; {_CURE}"
        )


def check_protocol(version: str | None) -> None:
    """Refuse a protocol version that is broken, or none. Raises `CredentialError`."""
    if version is not None and version.lower() not in _PROTOCOLS:
        raise CredentialError("ssl_min_protocol_version must be TLSv1.2 or TLSv1.3")


def least_protocol(given: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the minimum protocol version: what was asked for; a variable can make it stricter only."""
    asked = given.get("ssl_min_protocol_version")
    if asked is None and environ.get("PGSSLMINPROTOCOLVERSION", "").lower() == "tlsv1.3":
        return "TLSv1.3"
    return asked or "TLSv1.2"


def check_context(context: ssl.SSLContext) -> None:
    """Refuse a context of the caller's that would accept any server. Raises `CredentialError`."""
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise CredentialError(
            "the SSLContext given as ssl= does not verify the server: it needs check_hostname and CERT_REQUIRED, as "
            f"ssl.create_default_context() has them; {_CURE}"
        )


def find_roots(given: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the file of root certificates to verify the server with; None if only the library knows its store."""
    chosen = given or environ.get("PGSSLROOTCERT")
    if chosen and chosen != "system":
        return chosen
    if not chosen and (home := environ.get("HOME")):
        own = Path(home, ".postgresql", "root.crt")
        if own.is_file():
            return str(own)
    return _system_bundle()


def build_context(options: Mapping[str, str], environ: Mapping[str, str]) -> ssl.SSLContext:
    """Build a verifying context. `options` are libpq's: sslrootcert, sslcert, sslkey, sslpassword, sslcrl and
    ssl_min_protocol_version.

    Raises `CredentialError` if a file cannot be read.
    """
    roots = find_roots(options.get("sslrootcert"), environ)
    certificate, key = options.get("sslcert"), options.get("sslkey")
    files = roots, certificate, key, options.get("sslcrl")
    try:
        changed = tuple(Path(file).stat().st_mtime_ns if file else 0 for file in files)
        return _load(files, options.get("sslpassword"), least_protocol(options, environ), changed)
    except (OSError, ValueError) as error:
        message = f"a certificate file cannot be read ({type(error).__name__}): check sslrootcert, sslcert, sslkey"
    raise CredentialError(message)


# A system's store takes some 20 ms of CPU to read: once for all connections, and again when a file has changed.
@lru_cache(maxsize=8)
def _load(
    files: tuple[str | None, ...], key_password: str | None, least: str, _changed: tuple[int, ...]
) -> ssl.SSLContext:
    roots, certificate, key, revoked = files
    context = ssl.create_default_context(cafile=roots)
    context.minimum_version = _PROTOCOLS.get(least.lower(), ssl.TLSVersion.TLSv1_2)
    if revoked:
        context.load_verify_locations(cafile=revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if certificate:
        context.load_cert_chain(certificate, key, key_password)
    context.set_alpn_protocols(["postgresql"])  # what PostgreSQL 17 asks for with sslnegotiation=direct
    return context


def certificate_advice(auth_method: str) -> str:
    """Return what to do if a server's certificate is not accepted."""
    if auth_method == "aws_iam":
        return (
            "The server's certificate was not accepted. RDS and Aurora use an authority of Amazon's own: download "
            "global-bundle.pem (Amazon RDS User Guide, 'Using SSL/TLS') and set sslrootcert to its path."
        )
    return "The server's certificate was not accepted: check the host name, and sslrootcert if the authority is private"


def libpq_options(given: Mapping[str, Any], environ: Mapping[str, str], *, allow_unverified: bool) -> dict[str, Any]:
    """Return libpq's connection options with verified TLS. Raises `CredentialError`.

    Every option that matters is set, so that no variable of the environment and no service file can.
    """
    places = *(given.get(name) for name in _PLACES), *(environ.get(f"PG{name.upper()}") for name in _PLACES)
    if not any(places):
        raise CredentialError(NO_HOST)
    if libpq_is_local(given, environ):
        return dict(given)
    mode, gss = given.get("sslmode"), given.get("gssencmode")
    if allow_unverified and (mode or environ.get("PGSSLMODE")):
        return dict(given)
    check_mode(mode)
    if gss not in (None, "disable"):
        raise CredentialError("gssencmode must be disable: it would be used instead of verified TLS")
    check_protocol(given.get("ssl_min_protocol_version"))
    roots = find_roots(given.get("sslrootcert"), environ)
    strict = {"sslmode": VERIFIED, "gssencmode": "disable", "sslrootcert": roots or "system"}
    return {**given, **strict, "ssl_min_protocol_version": least_protocol(given, environ)}


def libpq_is_local(given: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether libpq would connect to this machine only. A service file may name any host, so with one it is not."""
    if given.get("service") or environ.get("PGSERVICE"):
        return False
    hosts = str(given.get("host") or environ.get("PGHOST") or "").split(",")
    addresses = str(given.get("hostaddr") or environ.get("PGHOSTADDR") or "").split(",")
    if len(addresses) < len(hosts):
        addresses += [""] * (len(hosts) - len(addresses))
    hosts += [""] * (len(addresses) - len(hosts))
    return all(is_local(address or host or "/") for host, address in zip(hosts, addresses, strict=True))


def _system_bundle() -> str | None:
    for path in (ssl.get_default_verify_paths().cafile, *_BUNDLES):  # the first knows SSL_CERT_FILE
        if path and Path(path).is_file():
            return path
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()
