"""Tenants, clients and keys as every request needs them: loaded once, kept until a change is announced.

Changes arrive from all processes through the store (LISTEN/NOTIFY); a short life bounds what a lost announcement can
do. One load is in flight for each tenant or client, however many requests wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from tegata.crypto.digests import base64url
from tegata.crypto.envelope import Envelope, SealBroken
from tegata.crypto.signing import PublishedKey, Signer, load_published, load_signer
from tegata.identifiers import TenantId
from tegata.protocol import metadata
from tegata.protocol.client import Client
from tegata.protocol.policy import SigningAlgorithm, Tenant
from tegata.storage.errors import Unavailable
from tegata.storage.ports import TenantDirectory
from tegata.storage.records import SigningKeyRecord, TenantRecord

_log = structlog.get_logger("tegata.directory")

Clock = Callable[[], float]
SIGNING_KEY_PURPOSE = "signing-key"
# Longer names are nobody's: they are not asked for, and not kept. Absent ones are, so endless ones would fill memory.
_MAX_TENANT_CHARACTERS = 63
_MAX_CLIENT_CHARACTERS = 512

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Document:
    """A public JSON document, encoded once, with its entity tag."""

    body: bytes
    etag: str


def encode(document: Mapping[str, Any]) -> Document:
    """Encode a document."""
    body = json.dumps(document, separators=(",", ":")).encode()
    return Document(body, f'"{base64url(hashlib.sha256(body).digest()[:12])}"')


@dataclass(frozen=True, slots=True)
class LoadedTenant:
    """A tenant with its keys parsed and its documents built."""

    tenant: Tenant
    signers: dict[SigningAlgorithm, Signer] = field(repr=False)
    published: tuple[PublishedKey, ...] = field(repr=False)
    jwks: Document = field(repr=False)
    metadata: Document = field(repr=False)

    @property
    def tenant_id(self) -> TenantId:
        return self.tenant.tenant_id

    @property
    def issuer(self) -> str:
        return self.tenant.issuer

    def signer(self, algorithm: SigningAlgorithm) -> Signer:
        """Return the active signer; a tenant always has one for each algorithm it lists."""
        return self.signers[algorithm]


class Directory:
    """The process's cache of tenants and clients."""

    def __init__(
        self,
        storage: TenantDirectory,
        envelope: Envelope,
        clock: Clock,
        *,
        base_url: str,
        lifetime_seconds: float = 30.0,
        max_tenants: int = 10_000,
        max_clients: int = 50_000,
        load: Callable[[SigningAlgorithm, str, bytes], Signer] = load_signer,
    ) -> None:
        self._storage = storage
        self._envelope = envelope
        self._base_url = base_url
        self._load = load
        self._tenants: Cache[str, LoadedTenant | None] = Cache(clock, lifetime_seconds, max_tenants)
        self._opened_a_key: bool | None = None
        self._names: dict[TenantId, str] = {}
        self._clients: Cache[tuple[TenantId, str], Client | None] = Cache(clock, lifetime_seconds, max_clients)

    async def find_tenant(self, name: str) -> LoadedTenant | None:
        """Return the tenant of this name, or None."""
        if not 0 < len(name) <= _MAX_TENANT_CHARACTERS:
            return None
        return await self._tenants.get(name, self._load_tenant)

    @property
    def keys_are_usable(self) -> bool:
        """False once a signing key could not be opened and none ever could: the master key is a wrong one."""
        return self._opened_a_key is not False

    async def find_client(self, tenant_id: TenantId, client_id: str) -> Client | None:
        """Return the client, or None."""
        if not 0 < len(client_id) <= _MAX_CLIENT_CHARACTERS:
            return None
        return await self._clients.get((tenant_id, client_id), self._load_client)

    def changed(self, tenant_id: TenantId | None, kind: str, key: str) -> None:
        """Forget what has changed. The callback of `storage.ports.Changes`."""
        if kind == "client" and tenant_id is not None:
            self._clients.forget((tenant_id, key))
        elif kind in {"tenant", "signing_key"} and tenant_id is not None:
            if kind == "tenant":
                self._tenants.forget(key)  # also as a name that nobody had
            if (name := self._names.get(tenant_id)) is not None:
                self._tenants.forget(name)
            else:
                self._tenants.forget_loads()  # one of them may be this tenant's
        else:
            self._tenants.clear()
            self._clients.clear()

    async def _load_client(self, key: tuple[TenantId, str]) -> Client | None:
        return await self._storage.find_client(*key)

    async def _load_tenant(self, name: str) -> LoadedTenant | None:
        record = await self._storage.find_tenant(name)
        if record is None:
            return None
        self._names[record.tenant_id] = record.name  # before its keys are read: they may change meanwhile
        keys = await self._storage.signing_keys(record.tenant_id)
        issuer = f"{self._base_url}/{record.name}"
        tenant = Tenant(record.tenant_id, record.name, issuer, record.policy, record.pairwise_salt)
        signers = self._signers(record, keys)
        published = tuple(load_published(key.algorithm, key.kid, key.public_jwk) for key in keys)
        return LoadedTenant(
            tenant,
            signers,
            published,
            encode({"keys": [dict(key.jwk) for key in published]}),
            encode(metadata.build(tenant, _algorithms(keys))),
        )

    def _signers(self, record: TenantRecord, keys: Sequence[SigningKeyRecord]) -> dict[SigningAlgorithm, Signer]:
        """Open the active keys. Raises `Unavailable`: that a key does not open is the operator's fault, not ours."""
        try:
            signers = {key.algorithm: self._signer(record.tenant_id, key) for key in keys if key.state == "active"}
        except SealBroken as error:
            _log.error("signing_key_not_opened", tenant=record.name, reason=str(error))
            self._opened_a_key = self._opened_a_key or False
            raise Unavailable("a signing key cannot be opened: TEGATA_MASTER_KEY does not fit this database") from None
        self._opened_a_key = True if signers else self._opened_a_key
        return signers

    def _signer(self, tenant_id: TenantId, key: SigningKeyRecord) -> Signer:
        private = self._envelope.open(key.sealed_private_key, tenant=str(tenant_id), purpose=SIGNING_KEY_PURPOSE)
        return self._load(key.algorithm, key.kid, private)


def _algorithms(keys: Sequence[SigningKeyRecord]) -> list[str]:
    return [key.algorithm for key in keys if key.state == "active"]


_K = TypeVar("_K")


class Cache(Generic[_K, _T]):
    """A bounded cache with single flight. A load that began before its key was forgotten is not kept.

    What does not exist (None) is kept apart: made-up names push nothing out that exists.
    """

    def __init__(self, clock: Clock, lifetime_seconds: float, max_entries: int, *, max_absent: int = 2_000) -> None:
        self._clock = clock
        self._lifetime = lifetime_seconds
        self._max_entries = max_entries
        self._max_absent = max_absent
        self._entries: OrderedDict[_K, tuple[float, _T]] = OrderedDict()
        self._absent: OrderedDict[_K, tuple[float, _T]] = OrderedDict()
        self._loading: dict[_K, asyncio.Future[_T]] = {}

    async def get(self, key: _K, load: Callable[[_K], Awaitable[_T]]) -> _T:
        """Return the kept value, or load it. A cancelled waiter does not stop the load for the others."""
        entry = self._entries.get(key) or self._absent.get(key)
        if entry is not None and self._clock() < entry[0]:
            return entry[1]
        future = self._loading.get(key)
        if future is None:
            future = asyncio.ensure_future(self._load(key, load))
            self._loading[key] = future
            future.add_done_callback(lambda done: self._loaded(key, done))
        return await asyncio.shield(future)

    def forget(self, key: _K) -> None:
        """Drop what is kept under this key, and do not keep what is being loaded for it now."""
        self._entries.pop(key, None)
        self._absent.pop(key, None)
        self._loading.pop(key, None)

    def forget_loads(self) -> None:
        """Keep nothing of what is being loaded now."""
        self._loading.clear()

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._absent.clear()
        self._loading.clear()

    async def _load(self, key: _K, load: Callable[[_K], Awaitable[_T]]) -> _T:
        value = await load(key)
        if self._loading.get(key) is asyncio.current_task():
            self._keep(key, value)
        return value

    def _keep(self, key: _K, value: _T) -> None:
        self._entries.pop(key, None)
        self._absent.pop(key, None)
        entries, limit = (self._absent, self._max_absent) if value is None else (self._entries, self._max_entries)
        entries[key] = (self._clock() + self._lifetime, value)
        while len(entries) > limit:
            entries.popitem(last=False)

    def _loaded(self, key: _K, future: asyncio.Future[_T]) -> None:
        if self._loading.get(key) is future:
            del self._loading[key]
        if not future.cancelled():
            future.exception()  # read, so that a failure nobody waited for is not reported as forgotten
