"""Typed reads of secrets: what a program calls. How reads are shared and remembered stands in `cache`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeVar, overload

from pydantic import BaseModel

from tegata_credentials.errors import CredentialError, SecretError
from tegata_credentials.observer import NoObserver, Observer
from tegata_credentials.secret_service.attempts import (
    AsyncOffer,
    LoginRefused,
    Offer,
    Refusals,
    Search,
    Use,
    arun,
    run,
)
from tegata_credentials.secret_service.batch import AllSecrets, Batch
from tegata_credentials.secret_service.cache import SecretCache
from tegata_credentials.secret_service.defaults import Default, WithDefaults
from tegata_credentials.secret_service.flights import Steps, adrive, drive
from tegata_credentials.secret_service.models import DatabaseCredentials, ExternalApiCredentials, JwtSecret
from tegata_credentials.secret_service.names import DATABASE, EXTERNAL_APIS, JWT, SecretNames
from tegata_credentials.secret_service.parsing import as_model
from tegata_credentials.secret_service.policy import CachePolicy
from tegata_credentials.secret_service.reports import Callback
from tegata_credentials.secret_service.slot import Reading, Slot
from tegata_credentials.secret_service.timing import Timing
from tegata_credentials.sources import SecretSource
from tegata_credentials.versions import SecretVersion

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")
Profile = Literal["production", "development"]
Wanted = Mapping[str, type[BaseModel]] | Sequence[str]

_MODELS: dict[str, type[BaseModel]] = {
    DATABASE: DatabaseCredentials,
    JWT: JwtSecret,
    EXTERNAL_APIS: ExternalApiCredentials,
}


class SecretService:
    """Reads secrets, as models, from memory while they are fresh.

    >>> from tegata_credentials.secret_service import SecretsInMemory
    >>> source = SecretsInMemory({"shop-prod-secret-database": {
    ...     "username": "app_a", "password": "hidden", "host": "db.example.com", "dbname": "shop"}})
    >>> service = SecretService(source, names=SecretNames("shop", "prod"))
    >>> service.get_database_credentials()
    DatabaseCredentials(username='app_a', password=SecretStr('**********'), engine='postgres', host='db.example.com', \
port=5432, dbname='shop', db_cluster_identifier=None, master_arn=None, reader_host=None, reader_port=None, \
sslrootcert=None)
    >>> service.get("database", DatabaseCredentials) is service.get_database_credentials(), source.fetches
    (True, 1)
    >>> service.close()

    Each method beginning with `a` is the same for asyncio. One service serves all threads, tasks and event loops of a
    process and of those forked from it. A method that waits must not be called in an event loop without its `a`.

    `names` expands short names. `defaults` (by name: a text, or a mapping that becomes JSON) are what a secret that
    is not found is taken to be; that is allowed with `profile="development"` only, and warns each time. `observer` is
    told figures and audit lines (`figures`). The service closes the source.
    """

    def __init__(
        self,
        source: SecretSource,
        *,
        names: SecretNames | None = None,
        policy: CachePolicy | None = None,
        observer: Observer | None = None,
        profile: Profile = "production",
        defaults: Mapping[str, Default] | None = None,
        timing: Timing | None = None,
    ) -> None:
        if profile not in ("production", "development"):
            raise CredentialError('profile is "production" or "development"')
        if defaults is not None and profile != "development":
            raise CredentialError('defaults for secrets are allowed with profile="development" only')
        self._names = names
        self._timing = timing or Timing()
        if defaults:
            source = WithDefaults(source, {self._expand(name): default for name, default in defaults.items()})
        self._cache = SecretCache(source, policy or CachePolicy(), observer or NoObserver(), self._timing)
        self._slots: dict[str, Slot] = {}
        self._ticks, self._wall = self._timing.ticks, self._timing.wall

    def __repr__(self) -> str:
        return f"<SecretService of {len(self._slots)} secrets>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret service is not pickled: each process makes its own")

    def get(self, name: str, model: type[Model]) -> Model:
        """Return a secret as `model`. Raises a `SecretError`."""
        found: Model | None = self._at_hand(name, model)
        return found if found is not None else self._drive(self._typed(name, model))

    async def aget(self, name: str, model: type[Model]) -> Model:
        """As `get`. What is in memory is returned without giving way to anything else."""
        found: Model | None = self._at_hand(name, model)
        return found if found is not None else await self._adrive(self._typed(name, model))

    def get_version(self, name: str) -> SecretVersion:
        """Return a secret as it was read: text, version and labels. Raises a `SecretError`."""
        found: SecretVersion | None = self._at_hand(name, SecretVersion)
        return found if found is not None else self._drive(self._plain(name))

    async def aget_version(self, name: str) -> SecretVersion:
        """As `get_version`."""
        found: SecretVersion | None = self._at_hand(name, SecretVersion)
        return found if found is not None else await self._adrive(self._plain(name))

    def get_many(self, wanted: Wanted) -> Batch:
        """Return several secrets, in as few calls of the store as it allows, each with a value or an error.

        `wanted` maps names to models; a sequence of names gets `SecretVersion`s.
        """
        return self._drive(self._typed_many(wanted))

    async def aget_many(self, wanted: Wanted) -> Batch:
        """As `get_many`."""
        return await self._adrive(self._typed_many(wanted))

    def get_database_credentials(self) -> DatabaseCredentials:
        """Return the secret `database`."""
        return self.get(DATABASE, DatabaseCredentials)

    async def aget_database_credentials(self) -> DatabaseCredentials:
        """As `get_database_credentials`."""
        return await self.aget(DATABASE, DatabaseCredentials)

    def get_jwt_secret(self) -> JwtSecret:
        """Return the secret `jwt`."""
        return self.get(JWT, JwtSecret)

    async def aget_jwt_secret(self) -> JwtSecret:
        """As `get_jwt_secret`."""
        return await self.aget(JWT, JwtSecret)

    def get_external_api_credentials(self) -> ExternalApiCredentials:
        """Return the secret `external-apis`."""
        return self.get(EXTERNAL_APIS, ExternalApiCredentials)

    async def aget_external_api_credentials(self) -> ExternalApiCredentials:
        """As `get_external_api_credentials`."""
        return await self.aget(EXTERNAL_APIS, ExternalApiCredentials)

    def get_all_secrets(self) -> AllSecrets:
        """Return the three secrets, read in one call. Raises the `SecretError` of the first that cannot be had."""
        batch = self.get_many(_MODELS)
        return AllSecrets(batch[DATABASE], batch[JWT], batch[EXTERNAL_APIS])

    async def aget_all_secrets(self) -> AllSecrets:
        """As `get_all_secrets`."""
        batch = await self.aget_many(_MODELS)
        return AllSecrets(batch[DATABASE], batch[JWT], batch[EXTERNAL_APIS])

    def invalidate(self, name: str, *, if_version: str | None = None) -> bool:
        """Have a secret read again before it is given out again. Return whether this had an effect.

        With `if_version` only if that is the version at hand, so that a hundred failing connections cause one fetch.
        If the store says that the version is the current one, the next such doubt about it is heard after a pause.
        """
        return self._cache.doubt(self._slot(name), if_version)

    @overload
    def use(
        self, name: Literal["database"], model: None = None, *, budget: float | None = None, allow_pending: bool = False
    ) -> Use[DatabaseCredentials]: ...
    @overload
    def use(
        self, name: str, model: type[Model], *, budget: float | None = None, allow_pending: bool = False
    ) -> Use[Model]: ...
    def use(
        self,
        name: str,
        model: type[BaseModel] | None = None,
        *,
        budget: float | None = None,
        allow_pending: bool = False,
    ) -> Use[Any]:
        """Return a credential to be entered with `with` or `async with`, which may be refused inside; see `Use`.

        A refusal waits up to `budget` seconds (the policy's, if not said) for the end of a rotation; `allow_pending`
        lets AWSPENDING be tried after that.
        """
        search = Search(self._cache, self._slot(name), model or _MODELS[name], budget, allow_pending)
        return Use(search)

    def run(
        self, use: Use[Model], act: Callable[[Offer[Model]], Result], *, refusals: Refusals = LoginRefused
    ) -> Result:
        """Call `act(offer)` again with another version as long as it raises one of `refusals` and there is one.

        >>> from tegata_credentials.secret_service import Login, SecretService, SecretsInMemory
        >>> service = SecretService(SecretsInMemory({"mail": {"username": "post", "password": "one"}}))
        >>> service.run(service.use("mail", Login), lambda offer: offer.value.username)
        'post'
        """
        return run(use, act, refusals)

    async def arun(
        self,
        use: Use[Model],
        act: Callable[[AsyncOffer[Model]], Awaitable[Result]],
        *,
        refusals: Refusals = LoginRefused,
    ) -> Result:
        """As `run`, with a coroutine function."""
        return await arun(use, act, refusals)

    def on_change(self, callback: Callback) -> Callable[[], None]:
        """Have `callback(full_id, version)` called once for each version that replaces another; returns what ends it.

        It is called in a thread of the service, one version after the other. What it raises is logged by kind.
        """
        return self._cache.on_change(callback)

    def close(self) -> None:
        """Forget all values and close the source. Reads raise `SecretUnavailable` afterwards."""
        self._slots = {}
        self._cache.close()

    def reach(self, name: str) -> tuple[SecretCache, Slot]:
        """Return the cache and the place of a secret in it: for what is built on the service, such as `passwords`."""
        return self._cache, self._slot(name)

    def _expand(self, name: str) -> str:
        return name if self._names is None else self._names.expand(name)

    def _slot(self, name: str) -> Slot:
        found = self._slots.get(name)
        if found is None:
            found = self._slots[name] = self._cache.slot(self._expand(name))
        return found

    def _at_hand(self, name: str, kind: type) -> Any:
        """Return what a reader need not think about. The hot path: no lock, no I/O, two clocks and two look-ups."""
        slot = self._slots.get(name)
        if slot is None:
            return None
        entry = slot.entry
        if self._ticks() >= entry.quiet.ticks or self._wall() >= entry.quiet.wall:
            return None
        found = entry.version if kind is SecretVersion else entry.models.get(kind)
        if found is not None:
            next(slot.hits)
        return found

    def _plain(self, name: str) -> Steps[SecretVersion]:
        return (yield from self._cache.read(self._slot(name))).version

    def _typed(self, name: str, model: type[Model]) -> Steps[Model]:
        return as_model((yield from self._cache.read(self._slot(name))), model)

    def _typed_many(self, wanted: Wanted) -> Steps[Batch]:
        slots = {name: self._slot(name) for name in wanted}
        found = yield from self._cache.read_many(list(slots.values()))
        models = wanted if isinstance(wanted, Mapping) else {}
        return Batch({name: _outcome(found[slot.secret], models.get(name)) for name, slot in slots.items()})

    def _drive(self, steps: Steps[Result]) -> Result:
        return drive(steps, self._timing.pause)

    async def _adrive(self, steps: Steps[Result]) -> Result:
        return await adrive(steps, self._timing.apause)


def _outcome(found: Reading | SecretError, model: type[BaseModel] | None) -> Any:
    if isinstance(found, SecretError):
        return found
    if model is None:
        return found.version
    try:
        return as_model(found, model)
    except SecretError as error:
        return error.again()
