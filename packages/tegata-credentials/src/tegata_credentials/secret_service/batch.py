"""What a read of several secrets brings: for each a value, or what went wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tegata_credentials.errors import SecretError
from tegata_credentials.secret_service.models import DatabaseCredentials, ExternalApiCredentials, JwtSecret


class Batch(Mapping[str, Any]):
    """The values by the names that were asked for. Reading one that could not be had raises its error.

    >>> from tegata_credentials.errors import SecretNotFound
    >>> batch = Batch({"mail": "a model", "sms": SecretNotFound("sms")})
    >>> batch["mail"], batch.errors
    ('a model', {'sms': SecretNotFound('secret sms: not_found')})
    >>> batch["sms"]
    Traceback (most recent call last):
    ...
    tegata_credentials.errors.SecretNotFound: secret sms: not_found
    """

    def __init__(self, outcomes: Mapping[str, Any]) -> None:
        self._outcomes = dict(outcomes)

    def __repr__(self) -> str:
        return f"<Batch {', '.join(f'{name}: {type(found).__name__}' for name, found in self._outcomes.items())}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled: they stay in the memory of one process")

    def __getitem__(self, name: str) -> Any:
        found = self._outcomes[name]
        if isinstance(found, SecretError):
            raise found.again()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    @property
    def errors(self) -> dict[str, SecretError]:
        """What went wrong, by name."""
        return {name: found for name, found in self._outcomes.items() if isinstance(found, SecretError)}


@dataclass(frozen=True, slots=True)
class AllSecrets:
    """The three secrets of a service that `SecretService.get_all_secrets` reads in one call of the store.

    >>> from tegata_credentials.secret_service import SecretService
    >>> AllSecrets.__annotations__["jwt"], SecretService.get_all_secrets.__name__
    ('JwtSecret', 'get_all_secrets')
    """

    database: DatabaseCredentials
    jwt: JwtSecret
    external_apis: ExternalApiCredentials

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled: they stay in the memory of one process")
