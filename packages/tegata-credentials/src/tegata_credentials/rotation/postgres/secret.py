"""What a secret says of a PostgreSQL login, checked before anything is connected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tegata_credentials.errors import SecretMalformed
from tegata_credentials.rotation.errors import RotationRefused
from tegata_credentials.rotation.postgres.repeated import repeats_of
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

_ENGINES = ("postgres", "postgresql", "aurora-postgresql")
_LONGEST_NAME = 63  # bytes, PostgreSQL documentation, "Identifiers and Key Words"


@dataclass(frozen=True, slots=True)
class Login:
    """A role and its password.

    Example:

        >>> Login("app_a", HiddenText("correct-horse"))
        Login(username='app_a', password='***')
    """

    username: str
    password: HiddenText

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not pickled: it stays in the memory of one process")


@dataclass(frozen=True, slots=True)
class Place:
    """A database: one host (or the directory of a socket), one port.

    Example:

        >>> Place("db.example.com").port
        5432
    """

    host: str
    port: int = 5432
    dbname: str = "postgres"
    sslrootcert: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseSecret:
    """A login, the places where it has to work, and who may change it (`masterarn`, as AWS calls it).

    Example:

        >>> text = '{"username": "app_a", "password": "x", "host": "db.example.com", "readerHost": "ro.example.com"}'
        >>> DatabaseSecret.of(SecretVersion("db", "1", HiddenText(text))).reader
        Place(host='ro.example.com', port=5432, dbname='postgres', sslrootcert=None)
    """

    login: Login
    writer: Place
    reader: Place | None
    administrator: str | None

    @classmethod
    def of(cls, version: SecretVersion) -> DatabaseSecret:
        """Read a version. Raises `SecretMalformed`, which names the field and never its value."""
        document = version.document()
        engine = document.get("engine", _ENGINES[0])
        if engine not in _ENGINES:
            raise SecretMalformed(version.secret, "engine is not postgres")
        roots = _text_or_none(version, document, "sslrootcert")
        dbname = _text_or_none(version, document, "dbname") or "postgres"
        port = _port(version, document, "port", 5432)
        reader = _text_or_none(version, document, "readerHost")
        return cls(
            login=login_of(version),
            writer=Place(_one_host(version, _text(version, document, "host")), port, dbname, roots),
            reader=None
            if reader is None
            else Place(_one_host(version, reader), _port(version, document, "readerPort", port), dbname, roots),
            administrator=_text_or_none(version, document, "masterarn"),
        )


def login_of(version: SecretVersion) -> Login:
    """Return user and password of a version, whatever else is in it. Raises `SecretMalformed`."""
    document = version.document()
    username = _text(version, document, "username")
    if len(username.encode()) > _LONGEST_NAME:
        raise SecretMalformed(version.secret, f"username is longer than {_LONGEST_NAME} bytes")
    return Login(username, HiddenText(_text(version, document, "password")))


def next_value(version: SecretVersion, username: str, password: HiddenText) -> HiddenText:
    """Return the JSON of `version` with another login and everything else as it is.

    Raises `RotationRefused` if the old login stands in another key too (in an address, say): it would go stale. What
    counts as that, `repeated` says.
    """
    document, old = version.document(), login_of(version)
    stale = repeats_of(document, old.username, old.password, username)
    if stale:
        raise RotationRefused(
            f"the user or password is repeated in {', '.join(stale)}, and would be wrong there after the rotation: "
            "take it out, and let readers put it together from username and password"
        )
    return HiddenText(json.dumps(document | {"username": username, "password": str(password)}, ensure_ascii=False))


def check_same_place(pending: DatabaseSecret, current: DatabaseSecret) -> None:
    """Refuse a pending value that leads elsewhere: an administrator's password would be shown there."""
    if (pending.writer, pending.reader, pending.administrator) != (
        current.writer,
        current.reader,
        current.administrator,
    ):
        raise RotationRefused("the pending value names another database or administrator than the current: give it up")


def _text(version: SecretVersion, document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise SecretMalformed(version.secret, f"{name} is missing or no text")
    return value


def _text_or_none(version: SecretVersion, document: Mapping[str, Any], name: str) -> str | None:
    return None if document.get(name) in (None, "") else _text(version, document, name)


def _one_host(version: SecretVersion, host: str) -> str:
    # libpq would try the hosts of a list one after the other, and nobody could say which one has been tested.
    if "," in host:
        raise SecretMalformed(version.secret, "host has to be one host")
    return host


def _port(version: SecretVersion, document: Mapping[str, Any], name: str, default: int) -> int:
    value = document.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:
        raise SecretMalformed(version.secret, f"{name} is no port")
    return value
