"""Reads the settings of one database from environment variables, and finds everything that is wrong with them at once.

No message repeats a value: it may be a password in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from tegata_credentials.errors import CredentialError

Auth = Literal["password", "managed_identity", "aws_iam"]
METHODS: tuple[Auth, ...] = ("password", "managed_identity", "aws_iam")

_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_SCHEMES = ("postgresql", "postgres")
# Not urlsplit's own hostname: it changes the case, which matters for the path of a socket written as %2F.
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]@]*)(?::(?P<port>[0-9]{1,5}))?")
_ALIASES = {
    "host": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "dbname": "database",
    "database": "database",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a name for programs, and a sentence with the cure for a person."""

    name: str
    says: str


class SettingsError(CredentialError):
    """The settings cannot be used; `problems` names each one with its cure, and never a value."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.says for problem in problems))
        self.problems = tuple(problems)


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of `DatabaseSettings`. Raises `SettingsError` that lists everything wrong at once."""
    problems: list[Problem] = []
    auth = _read_auth(environ, problems)
    pool = {name: _read_number(environ, variable, problems, *bounds) for name, variable, *bounds in _NUMBERS}
    pre_ping = _read_switch(environ, "DB_POOL_PRE_PING", problems)
    place = _read_url(environ.get("DATABASE_URL", "").strip(), auth, problems)
    names = {field: _read_name(environ, *variables) for field, variables in _NAMES.items()}
    if auth == "aws_iam" and place is not None:
        problems += _judge_signing(place["host"], names["rds_endpoint"], names["aws_region"])
    if problems or place is None:
        raise SettingsError(problems)
    return {
        **place,
        **{name: number for name, number in pool.items() if number is not None},
        "auth": auth,
        **names,
        "uses_default_credential": _read_name(environ, "AZURE_TOKEN_CREDENTIALS") is not None,
        "pool_pre_ping": True if pre_ping is None else pre_ping,
    }


_NAMES = {
    "azure_client_id": ("AZURE_CLIENT_ID",),
    "aws_region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "rds_endpoint": ("RDS_ENDPOINT",),
}

# Field, variable, least and most.
_NUMBERS = (
    ("pool_size", "DB_POOL_SIZE", 1, 1000),
    ("max_overflow", "DB_MAX_OVERFLOW", 0, 1000),
    ("pool_recycle", "DB_POOL_RECYCLE", -1, 7 * 86_400),
)


def _read_auth(environ: Mapping[str, str], problems: list[Problem]) -> Auth:
    chosen = environ.get("DATABASE_AUTH", "").strip().lower()
    managed = _read_switch(environ, "USE_MANAGED_IDENTITY", problems)
    auth: Auth | None = next((method for method in METHODS if method == chosen), None)
    if chosen and auth is None:
        says = f"DATABASE_AUTH is none of {', '.join(METHODS)}: choose one of them"
        problems.append(Problem("auth_unknown", says))
    if auth is not None and managed is not None and managed != (auth == "managed_identity"):
        says = "DATABASE_AUTH and USE_MANAGED_IDENTITY contradict each other: remove USE_MANAGED_IDENTITY"
        problems.append(Problem("auth_contradicts", says))
    return auth or ("managed_identity" if managed else "password")


def _read_switch(environ: Mapping[str, str], name: str, problems: list[Problem]) -> bool | None:
    text = environ.get(name, "").strip().lower()
    if text and text not in _WORDS:
        problems.append(Problem("no_switch", f"{name} is neither true nor false: write one of them"))
    return _WORDS.get(text)


def _read_name(environ: Mapping[str, str], *names: str) -> str | None:
    return next((text for name in names if (text := environ.get(name, "").strip())), None)


def _read_number(environ: Mapping[str, str], name: str, problems: list[Problem], least: int, most: int) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    number = int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else least - 1
    if not least <= number <= most:
        says = f"{name} is no whole number from {least} to {most}: correct or remove it"
        problems.append(Problem("no_number", says))
        return None
    return number


def _read_url(text: str, auth: Auth, problems: list[Problem]) -> dict[str, Any] | None:
    """Take the URL apart; None, and a problem in the list, if it cannot be read."""
    if not text:
        says = "DATABASE_URL is not set: give postgresql://USER@HOST/DATABASE; there is no default"
        problems.append(Problem("no_url", says))
        return None
    try:
        place = _take_apart(text)
    except ValueError:
        place = None
    if place is None:
        says = "DATABASE_URL cannot be read: write postgresql://USER@HOST:PORT/DATABASE, and special characters as %XX"
        problems.append(Problem("url_unreadable", says))
        return None
    problems += _judge(place, auth)
    return place


def _take_apart(text: str) -> dict[str, Any] | None:
    parts = urlsplit(text)
    login, _, address = parts.netloc.rpartition("@")
    place = _ADDRESS.fullmatch(address)
    pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    options = dict(pairs)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in _SCHEMES or place is None or parts.fragment or len(options) != len(pairs) or "@" in login:
        return None
    user, _, password = login.partition(":")
    written = {
        "host": unquote(place["host"].strip("[]")),
        "port": place["port"] or "",
        "user": unquote(user),
        "password": unquote(password),
        "database": unquote(parts.path.removeprefix("/")),
    }
    for alias, name in _ALIASES.items():
        given = options.pop(alias, "")
        if given and written[name]:
            return None  # two places that say it: nobody can tell which one is meant
        written[name] = written[name] or given
    return {
        **written,
        "database": written["database"] or written["user"],
        "password": written["password"] or None,
        "port": int(written["port"] or 5432),
        "options": tuple(options.items()),
    }


def is_named_by_rds(host: str) -> bool:
    """Whether this is a name that RDS gives, which shows the region too."""
    return host.lower().rstrip(".").endswith((".rds.amazonaws.com", ".amazonaws.com.cn"))


def _judge_signing(host: str, endpoint: str | None, region: str | None) -> Iterator[Problem]:
    """Find what a token of RDS could not be signed for."""
    if endpoint is None and host and not is_named_by_rds(host):
        says = (
            "DATABASE_URL holds a host that is not a name that RDS gives, and a token holds for the real one only: set "
            "RDS_ENDPOINT to that"
        )
        yield Problem("rds_endpoint_missing", says)
    if endpoint is not None and region is None and not is_named_by_rds(endpoint):
        says = "RDS_ENDPOINT does not show the region: set AWS_REGION"
        yield Problem("region_missing", says)


def _judge(place: Mapping[str, Any], auth: Auth) -> Iterator[Problem]:
    """Find what does not go with the method."""
    if not place["user"] or not place["host"]:
        says = "DATABASE_URL names no user or no host: write postgresql://USER@HOST/DATABASE"
        yield Problem("url_incomplete", says)
    if auth != "password" and place["password"]:
        says = (
            f"DATABASE_URL holds a password, but the method is {auth}: remove the password from the URL, and change it "
            "in the database if it was ever used"
        )
        yield Problem("password_in_url", says)
    if auth != "password" and "," in place["host"]:
        says = "DATABASE_URL names several hosts, and a token is for one: write one URL for each"
        yield Problem("several_hosts", says)
    needs_password = not place["host"].startswith("/") and "sslcert" not in dict(place["options"])
    if auth == "password" and not place["password"] and needs_password:
        says = (
            "DATABASE_URL holds no password, but the method is password: set DATABASE_AUTH to managed_identity or "
            "aws_iam, or write the password into the URL"
        )
        yield Problem("password_missing", says)
