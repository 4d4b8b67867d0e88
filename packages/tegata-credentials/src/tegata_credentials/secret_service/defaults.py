"""Values for a machine without a store of secrets: the development profile only."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tegata_credentials.errors import SecretError, SecretNotFound
from tegata_credentials.observer import CountsRequests
from tegata_credentials.sources import SecretSource
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, SecretVersion

log = logging.getLogger("tegata_credentials.secrets")

Default = str | Mapping[str, Any]


class WithDefaults:
    """A source that answers with a default, and a warning, what another source does not have.

    Only `SecretNotFound` is answered: a refusal or an outage stays what it is.

    >>> from tegata_credentials.secret_service import SecretsInMemory
    >>> WithDefaults(SecretsInMemory(), {"mail": {"user": "post"}}).fetch("mail").document()
    {'user': 'post'}
    """

    def __init__(self, source: SecretSource, defaults: Mapping[str, Default]) -> None:
        self._source = source
        self._texts = {
            secret: HiddenText(default if isinstance(default, str) else json.dumps(default))
            for secret, default in defaults.items()
        }

    def __reduce__(self) -> NoReturn:
        raise TypeError("defaults are not pickled: they stay in the memory of one process")

    @property
    def scheme(self) -> str:
        """That of the source behind."""
        return self._source.scheme

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        """Return what the source has, or the default."""
        try:
            return self._source.fetch(secret, stage=stage)
        except SecretNotFound:
            if stage != CURRENT or secret not in self._texts:
                raise
        return self._default(secret)

    def fetch_many(self, secrets: Sequence[str]) -> dict[str, SecretVersion | SecretError]:
        """Return what the source has, or the default, for each."""
        found = dict(self._source.fetch_many(secrets))
        for secret in secrets:
            if secret in self._texts and isinstance(found.get(secret), SecretNotFound):
                found[secret] = self._default(secret)
        return found

    def take_requests(self) -> int:
        """Return how often the source behind was asked, if it counts that."""
        return self._source.take_requests() if isinstance(self._source, CountsRequests) else 0

    def close(self) -> None:
        """Close the source behind."""
        self._source.close()

    def _default(self, secret: str) -> SecretVersion:
        which = {"secret": secret}
        log.warning("secret not found: %(secret)s: the default of the development profile is used", which, extra=which)
        return SecretVersion(secret, "default", self._texts[secret], frozenset({CURRENT}))
