"""The user and password of a database login, from a secret that rotates: fills the port of the adapters.

A password that the database has refused is not offered again, unless the store says after the refusal that it is the
current one and there is no other: then the adapter's caller gets to see the refusal of the database itself.
"""

from __future__ import annotations

from typing import NoReturn

from tegata_credentials.errors import (
    IdentityUnavailable,
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)
from tegata_credentials.secret_service.entry import Entry
from tegata_credentials.secret_service.flights import Steps, adrive, drive
from tegata_credentials.secret_service.models import Login
from tegata_credentials.secret_service.parsing import as_model
from tegata_credentials.secret_service.service import SecretService
from tegata_credentials.secret_service.slot import Reading
from tegata_credentials.token_state import LoginPassword
from tegata_credentials.versions import CURRENT, PENDING

_REASONS: dict[type[SecretError], str] = {
    SecretNotFound: "not_configured",
    SecretAccessDenied: "refused",
    SecretThrottled: "failing",
    SecretMalformed: "bad_answer",
}
_MOST_REMEMBERED = 8


class _Logins:
    """What both sources share: which versions were refused, and which one stands in for a refused current one."""

    auth_method = "secret"

    def __init__(
        self,
        service: SecretService,
        name: str = "database",
        *,
        budget: float | None = None,
        allow_pending: bool = False,
    ) -> None:
        self._cache, self._slot = service.reach(name)
        self._budget = self._cache.policy.budget if budget is None else budget
        self._allow_pending = allow_pending
        self._refused: tuple[str, ...] = ()
        self._refusals = self._answered = 0
        self._stand_in: tuple[str, Reading] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {self._slot.secret}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a source of passwords is not pickled: each process makes its own")

    def _offer(self) -> Steps[LoginPassword]:
        try:
            login = as_model((yield from self._choose()), Login)
        except SecretError as error:
            reason, hint = _REASONS.get(type(error), "unreachable"), str(error)
        else:
            return LoginPassword(login.password.get_secret_value(), user=login.username)
        raise IdentityUnavailable(reason, hint)

    def _choose(self) -> Steps[Reading]:
        refusals = self._refusals
        if self._answered >= refusals:
            reading = yield from self._read()
            if self._stand_in is not None and self._stand_in[0] == reading.version.version:
                return self._stand_in[1]
            return reading
        reading = yield from self._cache.seek(
            self._slot, set(self._refused), budget=self._budget, allow_pending=self._allow_pending
        )
        self._answered = max(self._answered, refusals)  # a refusal meanwhile is still to be answered
        current = self._slot.entry.version
        # Until the current version is another one, nobody has to be refused again to learn of the pending one.
        self._stand_in = (current.version, reading) if reading.stage == PENDING and current is not None else None
        return reading

    def _read(self) -> Steps[Reading]:
        """Read what nobody has refused to us."""
        try:
            return (yield from self._cache.read(self._slot))
        except (SecretThrottled, SecretUnavailable) as error:
            failure, entry = error.again(), self._slot.entry
        if entry.version is None or not entry.is_doubted:
            raise failure
        # Somebody else in this process was refused and waits for the store: wait with them instead of failing.
        refused = {entry.version.version}
        return (
            yield from self._cache.seek(self._slot, refused, budget=self._budget, allow_pending=self._allow_pending)
        )

    def _version_of(self, value: str) -> str | None:
        """Return the version in use whose password this is; None if it is not in use any more."""
        candidates = [self._slot.entry]
        if self._stand_in is not None:
            candidates.insert(0, self._stand_in[1].entry)
        return next((entry.version.version for entry in candidates if entry.version and _opens(entry, value)), None)

    def _reject(self, value: str) -> None:
        version = self._version_of(value)
        if version is None:
            return
        kept = tuple(known for known in self._refused if known != version)
        self._refused = (*kept, version)[-_MOST_REMEMBERED:]
        self._refusals += 1
        self._cache.doubt(self._slot, version)

    def _accept(self, value: str) -> None:
        if not self._refused and not self._slot.entry.confirmations:
            return
        version = self._version_of(value)
        if version is not None:
            self._refused = tuple(known for known in self._refused if known != version)
            self._cache.accept(self._slot, version)


def _opens(entry: Entry, value: str) -> bool:
    """Whether `value` is the password in this entry."""
    if entry.version is None:
        return False
    try:
        return as_model(Reading(entry, entry.version, CURRENT, False), Login).password.get_secret_value() == value
    except SecretMalformed:
        return False


class SecretLogin(_Logins):
    """The login of a database for asyncio: `PasswordSource` over a `SecretService`.

    >>> import asyncio
    >>> from tegata_credentials.secret_service import SecretService, SecretsInMemory
    >>> store = SecretsInMemory({"database": {"username": "app_a", "password": "one"}})
    >>> login = SecretLogin(SecretService(store))
    >>> async def log_in_while_it_rotates():
    ...     refused = await login.current()
    ...     store.put("database", {"username": "app_b", "password": "two"})
    ...     await login.rejected(refused)
    ...     return refused.user, (await login.current()).user
    >>> asyncio.run(log_in_while_it_rotates())
    ('app_a', 'app_b')

    After a refusal `current` reads AWSCURRENT again, waits up to `budget` seconds for another version (the policy's
    budget, if not said), and then tries AWSPENDING with `allow_pending`. Closing it leaves the service open.
    """

    async def current(self) -> LoginPassword:
        """Return the password to use now, with its user. Raises `IdentityUnavailable`."""
        return await adrive(self._offer(), self._cache.timing.apause)

    async def rejected(self, value: str) -> None:
        """Say that the database has refused `value`. A value that is not in use any more changes nothing."""
        self._reject(value)

    def accepted(self, value: str) -> None:
        """Say that the database has let somebody in with `value`."""
        self._accept(value)

    async def close(self) -> None:
        """Do nothing: the service belongs to whoever made it."""


class SyncSecretLogin(_Logins):
    """The login of a database for threads: `SyncPasswordSource` over a `SecretService`. See `SecretLogin`.

    >>> from tegata_credentials.secret_service import SecretService, SecretsInMemory
    >>> login = SyncSecretLogin(SecretService(SecretsInMemory({"database": {"username": "app_a", "password": "one"}})))
    >>> login.current(), login.current().user
    ('***', 'app_a')
    """

    def current(self) -> LoginPassword:
        """Return the password to use now, with its user. Raises `IdentityUnavailable`."""
        return drive(self._offer(), self._cache.timing.pause)

    def rejected(self, value: str) -> None:
        """Say that the database has refused `value`. A value that is not in use any more changes nothing."""
        self._reject(value)

    def accepted(self, value: str) -> None:
        """Say that the database has let somebody in with `value`."""
        self._accept(value)

    def close(self) -> None:
        """Do nothing: the service belongs to whoever made it."""
