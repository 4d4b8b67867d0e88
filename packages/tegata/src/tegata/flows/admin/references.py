"""References to secrets: where a value is read from, so that no document holds one.

`env:NAME`, `file:/path`, `awssm:NAME#KEY`: the stores are those of `tegata_credentials`, and nothing of AWS is loaded
unless a document asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tegata.flows.admin.yaml_reader import is_storable
from tegata_credentials.errors import SecretError, SecretThrottled, SecretUnavailable
from tegata_credentials.sources import SecretSource
from tegata_credentials.sources.environment import Environment
from tegata_credentials.sources.references import ReferencedSecrets
from tegata_credentials.versions import SecretVersion

# What editors are told; `Reference.parse` has the last word.
_KEY = r"(#.{1,200})?"
_NAME = r"[A-Za-z0-9/_+=.@!-]{1,512}"
_ARN = rf"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{{12}}:secret:{_NAME}"
PATTERN = rf"(env:[A-Za-z_][A-Za-z0-9_]{{0,199}}{_KEY}|file:/.{{1,1000}}|awssm:({_NAME}|{_ARN}){_KEY})"


class Unresolvable(Exception):
    """A reference leads nowhere. The message says why and never holds a secret."""


class References(Protocol):
    """Turns a reference into the value behind it."""

    def read(self, references: Iterable[str]) -> None:
        """Read all of these now, each store asked once; what is wrong with one is told when it is resolved."""
        ...

    def resolve(self, reference: str) -> str:
        """Return the value. Raises `Unresolvable`, and `SecretError` where its store does not answer."""
        ...


class StoredReferences:
    """References to what a source of secrets keeps."""

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._found: dict[str, SecretVersion | SecretError] = {}

    def read(self, references: Iterable[str]) -> None:
        wanted = [reference for reference in dict.fromkeys(references) if reference not in self._found]
        try:
            if wanted:
                self._found |= self._source.fetch_many(wanted)
        finally:
            self._source.close()

    def resolve(self, reference: str) -> str:
        value = self._value(reference)
        if not is_storable(value):
            raise Unresolvable(f"leads to a value that is not text ({reference})")
        return value

    def _value(self, reference: str) -> str:
        self.read([reference])
        found = self._found[reference]
        if isinstance(found, SecretVersion):
            return str(found.text)
        if isinstance(found, SecretThrottled | SecretUnavailable):
            raise found.again()  # nothing is wrong with the document
        # By the name that the store knows: what is no reference may be a secret in the wrong place.
        raise Unresolvable(f"leads nowhere ({found.secret}): {found.reason.replace('_', ' ')}, {found.hint}")


def standard_references(environment: Mapping[str, str]) -> StoredReferences:
    """Return `env:` over the given environment, `file:` with absolute paths, and `awssm:`."""
    return StoredReferences(ReferencedSecrets({"env": Environment(environment)}))


def read_jwks(references: References, reference: str) -> dict[str, Any]:
    """Return the JWK set behind a reference. Raises `Unresolvable`."""
    try:
        found = json.loads(references.resolve(reference))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unresolvable(f"leads to something that is not a JSON object ({reference})")
    return found
