"""Reads where asyncpg would connect to, and settles TLS before it does. No driver is imported here."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from tegata_credentials.database import is_token_method
from tegata_credentials.errors import CredentialError
from tegata_credentials.tls import NO_HOST, build_context, check_context, check_mode, check_protocol, is_local

_FILES = ("sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl")
_PROTOCOLS = ("ssl_min_protocol_version", "ssl_max_protocol_version")
_TLS_WORDS = ("sslmode", *_FILES, *_PROTOCOLS)

TWO_PASSWORDS = (
    "the database URL holds a password, but the login has a source of its own: take the password out of the URL"
)
ONE_HOST = "an AWS IAM token is signed for one host: make one source and one pool for each host"


@dataclass(frozen=True, slots=True)
class _Dsn:
    hosts: tuple[str, ...]
    query: dict[str, str]
    has_password: bool


def connect_options(
    dsn: str | None,
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    auth_method: str,
    allow_unverified: bool = False,
) -> dict[str, Any]:
    """Return the arguments for `asyncpg.connect`, without the password. Raises `CredentialError`."""
    place = _read(dsn)
    if place.has_password or given.get("password") is not None:
        raise CredentialError(TWO_PASSWORDS)
    options = {name: value for name, value in given.items() if name not in _TLS_WORDS}
    words = {name: str(given[name]) for name in _TLS_WORDS if given.get(name) is not None}
    hosts = _hosts(place, given, environ)
    if is_token_method(auth_method) and hosts is None:
        raise CredentialError(NO_HOST)
    hosts = hosts or ()
    if auth_method == "aws_iam" and len(hosts) > 1:
        raise CredentialError(ONE_HOST)
    trusted = bool(hosts) and all(map(is_local, hosts))
    asked = given.get("ssl") is not None or "sslmode" in {**place.query, **words} or "PGSSLMODE" in environ
    if not is_token_method(auth_method) or trusted or (allow_unverified and asked):
        return {**options, "dsn": _with_words(dsn, words)}
    options["ssl"] = _verified(given.get("ssl"), {**place.query, **words}, environ)
    return {**options, "dsn": dsn}


def _verified(asked: object, words: Mapping[str, str], environ: Mapping[str, str]) -> ssl.SSLContext:
    if isinstance(asked, ssl.SSLContext):
        check_mode(words.get("sslmode"))
        check_context(asked)
        return asked
    if asked is False:
        check_mode("disable")
    for mode in (words.get("sslmode"), None if asked in (None, True) else str(getattr(asked, "name", asked))):
        check_mode(mode)
    check_protocol(words.get("ssl_min_protocol_version"))
    check_protocol(words.get("ssl_max_protocol_version"))
    return build_context(words, environ)


def _hosts(place: _Dsn, given: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the hosts that asyncpg would try; empty if a service file may name any, None if nobody has named one."""
    if given.get("service") or "service" in place.query or environ.get("PGSERVICE"):
        return ()
    host = given.get("host")
    if host:
        return tuple(map(str, host)) if isinstance(host, list | tuple) else (str(host),)
    if place.hosts:
        return place.hosts
    written = place.query.get("host") or environ.get("PGHOST")
    if not written:
        return None
    return tuple(part for part in map(_host_of, written.split(",")) if part)


def _read(dsn: str | None) -> _Dsn:
    if not dsn:
        return _Dsn((), {}, False)
    try:
        parts = urlsplit(dsn)
        query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except ValueError:
        raise CredentialError("the database URL cannot be read: special characters need percent encoding") from None
    # As asyncpg reads it: what stands behind the first `@` is the hosts, with whatever else is there.
    before, at, behind = parts.netloc.partition("@")
    login, hosts = (before, behind) if at else ("", before)
    names = tuple(unquote(_host_of(part)) for part in hosts.split(",")) if hosts else ()
    return _Dsn(names, query, bool(login.partition(":")[2] or query.get("password")))


def _host_of(written: str) -> str:
    if written.startswith("["):
        return written[1:].partition("]")[0]
    return written if written.startswith("/") else written.partition(":")[0]


def _with_words(dsn: str | None, words: Mapping[str, str]) -> str | None:
    """asyncpg reads these from a DSN only; SQLAlchemy turns the query of its URL into arguments."""
    if not words:
        return dsn
    if not dsn:
        return f"postgresql://?{urlencode(words)}"
    return f"{dsn}{'&' if '?' in dsn else '?'}{urlencode(words)}"
