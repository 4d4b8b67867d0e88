"""Using a credential that may be refused: what to do then, once, for everybody.

After a refusal AWSCURRENT is read again. If it is another version, that one is used. If it is the same, a rotation may
be under way: the store is asked again, ever more seldom, within a budget. Then AWSPENDING is tried if that is allowed.
Then it is given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar

from pydantic import BaseModel

from tegata_credentials.errors import CredentialError
from tegata_credentials.secret_service.cache import SecretCache
from tegata_credentials.secret_service.flights import Steps, adrive, drive
from tegata_credentials.secret_service.parsing import as_model
from tegata_credentials.secret_service.slot import Reading, Slot

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")
Refusals = type[Exception] | tuple[type[Exception], ...]


class LoginRefused(CredentialError):
    """What the credential was for has refused it: SQLSTATE 28000 or 28P01, HTTP 401. Raise it in `use` and `run`.

    >>> from tegata_credentials.secret_service import Login, SecretService, SecretsInMemory
    >>> service = SecretService(SecretsInMemory({"mail": {"username": "post", "password": "one"}}))
    >>> with service.use("mail", Login) as offer:
    ...     raise LoginRefused(f"the mail server refuses {offer.version}")
    Traceback (most recent call last):
    tegata_credentials.secret_service.attempts.LoginRefused: the mail server refuses v1
    """


class Offer(Generic[Model]):
    """A credential to try. `value`, `version` and `stale` change when it is refused and there is another one.

    `stale` says that the value is past its life because the store does not answer.

    >>> from tegata_credentials.secret_service import Login, SecretService, SecretsInMemory
    >>> source = SecretsInMemory({"mail": {"username": "post", "password": "one"}})
    >>> with SecretService(source).use("mail", Login) as offer:
    ...     source.put("mail", {"username": "post", "password": "two"})
    ...     offer.refused()
    ...     offer.version, offer.value.password.get_secret_value()
    ('v2', 'two')
    """

    def __init__(self, search: Search[Model], reading: Reading) -> None:
        self._search = search
        self._take(reading)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of version {self.version}>"

    def refused(self) -> None:
        """Say that `value` was refused, and go over to another version. Raises `LoginRefused` if there is none."""
        if not self.change():
            raise self._search.exhausted()

    def change(self) -> bool:
        """As `refused`, but return whether there is another version."""
        return self._take(drive(self._search.another(self.version), self._search.cache.timing.pause))

    def _take(self, reading: Reading | None) -> bool:
        if reading is None:
            return False
        self.value: Model = as_model(reading, self._search.model)
        self.version = reading.version.version
        self.stale = reading.is_stale
        return True


class AsyncOffer(Offer[Model]):
    """The same for asyncio: `await offer.refused()`.

    >>> import asyncio
    >>> from tegata_credentials.secret_service import Login, SecretService, SecretsInMemory
    >>> async def main(source):
    ...     async with SecretService(source).use("mail", Login) as offer:
    ...         source.put("mail", {"username": "post", "password": "two"})
    ...         await offer.refused()
    ...         return offer.version
    >>> asyncio.run(main(SecretsInMemory({"mail": {"username": "post", "password": "one"}})))
    'v2'
    """

    async def refused(self) -> None:  # type: ignore[override]  # the same act, awaited
        """Say that `value` was refused, and go over to another version. Raises `LoginRefused` if there is none."""
        if not await self.achange():
            raise self._search.exhausted()

    async def achange(self) -> bool:
        """As `refused`, but return whether there is another version."""
        return self._take(await adrive(self._search.another(self.version), self._search.cache.timing.apause))


class Search(Generic[Model]):
    """Looks for a version that is not refused; remembers those that were.

    >>> from tegata_credentials.secret_service import Login, SecretService, SecretsInMemory
    >>> service = SecretService(SecretsInMemory({"mail": {"username": "post", "password": "one"}}))
    >>> search = Search(*service.reach("mail"), Login, budget=0.0, allow_pending=False)
    >>> drive(search.another("v1"), print) is None
    True
    """

    def __init__(
        self, cache: SecretCache, slot: Slot, model: type[Model], budget: float | None, allow_pending: bool
    ) -> None:
        self.cache = cache
        self.model = model
        self.slot = slot
        self._budget = cache.policy.budget if budget is None else budget
        self._allow_pending = allow_pending
        self._refused: set[str] = set()

    def another(self, version: str) -> Steps[Reading | None]:
        """Return a reading of another version than those refused, if there is one."""
        self._refused.add(version)
        found = yield from self.cache.seek(
            self.slot, self._refused, budget=self._budget, allow_pending=self._allow_pending
        )
        return None if found.version.version in self._refused else found

    def exhausted(self) -> LoginRefused:
        """Build the error for when there is no other version."""
        return LoginRefused(f"secret {self.slot.secret}: the current version is refused, and there is no other")


class Use(Generic[Model]):
    """What `SecretService.use` returns: enter it with `with` or `async with`.

    Left without an error, the version counts as accepted; left by `LoginRefused`, it is read again before anybody
    gets it.

    >>> from tegata_credentials.secret_service import Login, SecretService, SecretsInMemory
    >>> service = SecretService(SecretsInMemory({"mail": {"username": "post", "password": "one"}}))
    >>> with service.use("mail", Login) as offer:
    ...     offer.value.username, offer.version, offer.stale
    ('post', 'v1', False)
    """

    def __init__(self, search: Search[Model]) -> None:
        self._search = search
        self._offer: Offer[Model] | None = None

    def __enter__(self) -> Offer[Model]:
        search = self._search
        self._offer = Offer(search, drive(search.cache.read(search.slot), search.cache.timing.pause))
        return self._offer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    async def __aenter__(self) -> AsyncOffer[Model]:
        search = self._search
        self._offer = offer = AsyncOffer(
            search, await adrive(search.cache.read(search.slot), search.cache.timing.apause)
        )
        return offer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if self._offer is None:
            return
        if isinstance(error, LoginRefused):
            self._search.cache.doubt(self._search.slot, self._offer.version)
        elif error is None:
            self._search.cache.accept(self._search.slot, self._offer.version)


def run(use: Use[Model], act: Callable[[Offer[Model]], Result], refusals: Refusals) -> Result:
    """Call `act` with an offer until it is not refused. Raises its last refusal when there is no other version."""
    with use as offer:
        while True:
            try:
                return act(offer)
            except refusals:
                if not offer.change():
                    raise


async def arun(use: Use[Model], act: Callable[[AsyncOffer[Model]], Awaitable[Result]], refusals: Refusals) -> Result:
    """As `run`."""
    async with use as offer:
        while True:
            try:
                return await act(offer)
            except refusals:
                if not await offer.achange():
                    raise
