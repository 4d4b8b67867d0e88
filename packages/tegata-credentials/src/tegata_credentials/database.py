"""Where the password of a database login comes from: the port that every adapter asks, and the simple sources.

`TokenSource` and `SyncTokenSource` fill the same port with tokens of Azure and AWS. A source may have one more method,
`accepted(value)`: the adapters call it after a login, without waiting, if it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, NoReturn, Protocol

from tegata_credentials.sync_tokens import SyncTokenSource
from tegata_credentials.token_state import HiddenText, LoginPassword, RefreshPolicy, Token
from tegata_credentials.tokens import TokenSource

__all__ = [
    "AuthMethod",
    "FixedPassword",
    "LoginPassword",
    "PasswordSource",
    "RotatingSecret",
    "SecretReader",
    "SyncFixedPassword",
    "SyncPasswordSource",
    "SyncRotatingSecret",
    "SyncSecretReader",
    "is_token_method",
    "note_accepted",
]

AuthMethod = Literal["password", "managed_identity", "aws_iam", "secret"]


class PasswordSource(Protocol):
    """Gives the password for each new connection."""

    @property
    def auth_method(self) -> str:
        """One of `AuthMethod`, or a word of your own: anything but `password` and `secret` is treated as a token."""

    async def current(self) -> str:
        """Return the password to use now. Raises `IdentityUnavailable`.

        A `LoginPassword` also says which user it belongs to; that user logs in then, whoever stands in the URL.
        """

    async def rejected(self, value: str) -> None:
        """Say that the database has refused `value`, so that `current` finds another one if it can."""

    async def close(self) -> None:
        """Give back what the source holds."""


class SyncPasswordSource(Protocol):
    """The same port for threads."""

    @property
    def auth_method(self) -> str:
        """As in `PasswordSource`."""

    def current(self) -> str:
        """Return the password to use now. Raises `IdentityUnavailable`."""

    def rejected(self, value: str) -> None:
        """Say that the database has refused `value`."""

    def close(self) -> None:
        """Give back what the source holds."""


class SecretReader(Protocol):
    """Reads a password from where it is kept; `force` asks to pass by every cache."""

    async def __call__(self, force: bool) -> str:
        """Return the password."""


class SyncSecretReader(Protocol):
    """The same for threads."""

    def __call__(self, force: bool) -> str:
        """Return the password."""


def is_token_method(auth_method: str) -> bool:
    """Whether the credential is a token, which goes over the wire as it is and therefore needs verified TLS."""
    return auth_method not in ("password", "secret")


class FixedPassword:
    """A password that does not change while the process runs."""

    auth_method = "password"

    def __init__(self, password: str) -> None:
        self._password = HiddenText(password)

    def __repr__(self) -> str:
        return "FixedPassword('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not pickled: it stays in the memory of one process")

    async def current(self) -> str:
        """Return the password."""
        return self._password

    async def rejected(self, value: str) -> None:
        """Do nothing: there is no other password."""

    async def close(self) -> None:
        """Do nothing."""


class SyncFixedPassword:
    """A password that does not change while the process runs, for threads."""

    auth_method = "password"

    def __init__(self, password: str) -> None:
        self._password = HiddenText(password)

    def __repr__(self) -> str:
        return "SyncFixedPassword('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not pickled: it stays in the memory of one process")

    def current(self) -> str:
        """Return the password."""
        return self._password

    def rejected(self, value: str) -> None:
        """Do nothing: there is no other password."""

    def close(self) -> None:
        """Do nothing."""


class RotatingSecret(TokenSource):
    """A password that something else changes from time to time.

    `read(force)` is asked at first, again after `max_age_seconds`, and with `force=True` after the database has
    refused the password. It raises `IdentityUnavailable` when the store cannot be reached; a known password is then
    used on, however old it is. It is for a reader of your own. For secrets that `SecretService` reads, take its
    `SecretLogin`: that one also follows the user, which alternates with the password, and waits for a rotation. Where
    only a text of a secret is wanted:

    >>> import asyncio
    >>> from tegata_credentials.secret_service import SecretService, SecretsInMemory
    >>> service = SecretService(SecretsInMemory({"legacy-password": "one"}))
    >>> async def read(force: bool) -> str:
    ...     if force:
    ...         service.invalidate("legacy-password")
    ...     return (await service.aget_version("legacy-password")).text
    >>> asyncio.run(RotatingSecret(read).current()) == "one"
    True
    """

    def __init__(
        self,
        read: SecretReader,
        *,
        max_age_seconds: float = 300.0,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        policy = RefreshPolicy(unknown_life=max_age_seconds)
        super().__init__(_Reading(read), auth_method="secret", clock=clock, ticks=ticks, policy=policy)


class SyncRotatingSecret(SyncTokenSource):
    """A password that something else changes from time to time, for threads. See `RotatingSecret`."""

    def __init__(
        self,
        read: SyncSecretReader,
        *,
        max_age_seconds: float = 300.0,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        policy = RefreshPolicy(unknown_life=max_age_seconds)
        super().__init__(_SyncReading(read), auth_method="secret", clock=clock, ticks=ticks, policy=policy)


class _Reading:
    def __init__(self, read: SecretReader) -> None:
        self._read = read
        self._force = False

    async def fetch(self) -> Token:
        value = await self._read(self._force)
        self._force = False
        return Token(value)

    async def discard(self) -> None:
        self._force = True

    async def close(self) -> None:
        pass


class _SyncReading:
    def __init__(self, read: SyncSecretReader) -> None:
        self._read = read
        self._force = False

    def fetch(self) -> Token:
        value = self._read(self._force)
        self._force = False
        return Token(value)

    def discard(self) -> None:
        self._force = True

    def close(self) -> None:
        pass


def note_accepted(password: PasswordSource | SyncPasswordSource, value: str) -> None:
    """Tell a source that a login has succeeded, if it wants to know: an optional method, `accepted(value)`."""
    accepted = getattr(password, "accepted", None)
    if accepted is not None:
        accepted(value)
