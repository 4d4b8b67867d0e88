"""Secrets in environment variables: for development, and for platforms that offer nothing else.

A process that runs keeps the environment it was started with, so such a secret changes with a restart only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial

from tegata_credentials.errors import SecretError, SecretNotFound
from tegata_credentials.sources.one_by_one import attempt, fetch_each, or_raise
from tegata_credentials.sources.plain_text import OneVersion, check_stage
from tegata_credentials.versions import CURRENT, SecretVersion

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Environment:
    """Reads environment variables; `prefix` stands before each name. Without `environ`, the process's own.

    A name that no shell could set, such as `shop-dev-secret-jwt`, is looked for in upper case and with `_` for each
    sign that is neither letter nor digit.

    >>> source = Environment({"SHOP_DEV_SECRET_JWT": '{"issuer": "shop"}', "API_KEY": "k-123"})
    >>> source.fetch("API_KEY").text == "k-123"
    True
    >>> source.fetch("shop-dev-secret-jwt").document()
    {'issuer': 'shop'}
    >>> source.fetch("OTHER")
    Traceback (most recent call last):
        ...
    tegata_credentials.errors.SecretNotFound: secret OTHER: not_found (the environment variable OTHER is not set)
    """

    scheme = "env"

    def __init__(self, environ: Mapping[str, str] | None = None, *, prefix: str = "") -> None:
        self._environ = os.environ if environ is None else environ
        self._prefix = prefix
        self._versions = OneVersion()

    def __repr__(self) -> str:
        return f"Environment(prefix={self._prefix!r})"

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        """Return the variable. Raises `SecretNotFound`, `SecretMalformed`."""
        return or_raise(attempt(partial(self._read, stage=stage), secret))

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        """Return each, or what went wrong."""
        return fetch_each(self, secrets)

    def close(self) -> None:
        """Do nothing."""

    def _read(self, secret: str, stage: str) -> SecretVersion:
        check_stage(secret, stage)
        name = self._prefix + (secret if _VARIABLE.fullmatch(secret) else re.sub(r"[^A-Z0-9]", "_", secret.upper()))
        text = None if "\0" in name else self._environ.get(name)
        if text is None:
            raise SecretNotFound(secret, f"the environment variable {name} is not set")
        return self._versions.of(secret, text)
