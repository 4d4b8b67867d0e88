"""The first value of a secret that is kept in files: for logins that take turns nobody has to make up a password.

The first version names the second login of the pair with a password that is nobody's. A rotation then gives the first
login its own, tries it, and makes that current: what is made by hand is a place, never a value.
"""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from tegata.cli.failures import FOUND, USAGE, CommandFailure
from tegata.cli.rotation.documents import RotatedSecret
from tegata.cli.rotation.stores import file_store
from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.plans import AlternatingUsersPlan, SigningKeysPlan
from tegata_credentials.token_state import HiddenText

_MOST_CHARACTERS = 65_536
_QUERY = {"sslrootcert": "sslrootcert", "reader": "readerHost"}


def create(secret: RotatedSecret, at: str | None) -> str:
    """Make the secret with its first value; return the version. Raises `CommandFailure`."""
    if secret.reference.scheme != "file":
        raise CommandFailure(
            f"{secret.reference} is made with the tools of its store; then `tegata secrets rotate {secret.name}`", USAGE
        )
    text = first_value(secret, at)
    store, name = file_store(secret)
    try:
        return store.create(name, text)
    except CredentialError as error:
        raise CommandFailure(str(error), FOUND) from None


def without_rest(secret: RotatedSecret) -> RotatedSecret:
    """Return how a secret is rotated for the first time: nobody can have its first value in a cache."""
    if not isinstance(secret.plan, AlternatingUsersPlan):
        return secret
    return replace(secret, plan=secret.plan.model_copy(update={"rest_seconds": 0.0}))


def first_value(secret: RotatedSecret, at: str | None) -> HiddenText:
    """Return what the first version holds. Raises `CommandFailure`."""
    plan = secret.plan
    if isinstance(plan, AlternatingUsersPlan):
        if at is None:
            raise CommandFailure("say with --at where the database is: postgresql://db.example.com:5432/tegata", USAGE)
        second = f"{plan.group}_b" if plan.pair is None else plan.pair[1]
        nobodys = secrets.token_urlsafe(32)
        return HiddenText(json.dumps({"username": second, "password": nobodys, "engine": "postgres", **place(at)}))
    if at is not None:
        raise CommandFailure("--at is for logins that take turns", USAGE)
    if isinstance(plan, SigningKeysPlan):
        return HiddenText("")
    return _typed(secret)


def place(url: str) -> dict[str, str | int]:
    """Return what an address says of a database, in the words of the secret. Raises `CommandFailure`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 5432
    except ValueError:
        raise CommandFailure("--at is no address like postgresql://db.example.com:5432/tegata", USAGE) from None
    query = dict(parse_qsl(parts.query))
    host = host or query.pop("host", None)
    if parts.scheme not in {"postgresql", "postgres"} or not host or len(parts.path) < 2:
        raise CommandFailure("--at is no address like postgresql://db.example.com:5432/tegata", USAGE)
    if "@" in parts.netloc:
        raise CommandFailure("--at names no user and no password: the rotation makes both", USAGE)
    query.pop("sslmode", None)  # always verify-full
    unknown = sorted(query.keys() - _QUERY.keys())
    if unknown:
        raise CommandFailure(f"--at: {', '.join(unknown)} is nothing that the secret says of a place", USAGE)
    named = {_QUERY[name]: value for name, value in query.items()}
    return {"host": host, "port": port, "dbname": parts.path[1:], **named}


def _typed(secret: RotatedSecret) -> HiddenText:
    if sys.stdin.isatty():
        raise CommandFailure("the value is read from standard input: `tegata secrets create ... < FILE`", USAGE)
    text = sys.stdin.read(_MOST_CHARACTERS + 1).removesuffix("\n")
    if not text or len(text) > _MOST_CHARACTERS:
        raise CommandFailure(f"standard input holds no value for {secret.name}, or one that is too long", USAGE)
    return HiddenText(text)
