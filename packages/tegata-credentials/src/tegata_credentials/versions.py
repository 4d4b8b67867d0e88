"""One version of a secret, as it was read, and the labels that AWS Secrets Manager gives versions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tegata_credentials.errors import SecretMalformed
from tegata_credentials.token_state import HiddenText

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """A value that never changes: another value is another `version`.

    `secret` is the id it was asked for by. `version` is the store's own name of it (AWS: VersionId); where a store has
    none, a digest under a key of this process, so that it neither tells the value nor can be compared elsewhere.

    >>> found = SecretVersion("mail", "v1", HiddenText('{"password": "hidden"}'), frozenset({CURRENT}))
    >>> found
    SecretVersion(secret='mail', version='v1', stages=frozenset({'AWSCURRENT'}), arn=None)
    >>> list(found.document())
    ['password']
    """

    secret: str
    version: str
    text: HiddenText = field(repr=False)
    stages: frozenset[str] = frozenset()
    arn: str | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: it stays in the memory of one process")

    def document(self) -> dict[str, Any]:
        """Return the JSON object that the value is. Raises `SecretMalformed`, without the value."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise SecretMalformed(self.secret, "is not a JSON object")
        return found
