"""A tenant's signing keys: made, listed and rotated. next -> active -> previous -> gone.

A key is published before it signs and stays published until nothing it signed is valid any more, so that verifiers
with a cached JWKS never meet an unknown key (OIDC Core §10.1.1).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from tegata.crypto.envelope import Envelope, SealBroken
from tegata.crypto.keys import generate_key, private_bytes, public_jwk
from tegata.flows.admin.key_times import KEPT_SECONDS, PUBLISHED_SECONDS
from tegata.flows.directory import SIGNING_KEY_PURPOSE
from tegata.identifiers import TenantId
from tegata.protocol.policy import SigningAlgorithm
from tegata.storage.ports import OperatorStorage
from tegata.storage.records import KeyState, SigningKeyRecord, TenantRecord
from tegata.telemetry import audit

ACTOR = "operator"
_TENANTS_AT_ONCE = 100
_NAMED = 5


class NoSuchTenant(Exception):
    """There is no tenant of this name."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of one algorithm. "lost": somebody else rotated at the same moment, and nothing was done twice.

    `early_seconds`: the key that signs now should have been published for so much longer before (pitfalls P62). It is
    rotated all the same: who asks for it may have lost the active key.
    """

    algorithm: SigningAlgorithm
    outcome: Literal["rotated", "lost"]
    active: str
    next: str
    early_seconds: int = 0


@dataclass(frozen=True, slots=True)
class KeyMaker:
    """Makes keys whose private part is sealed before anything else sees it."""

    envelope: Envelope = field(repr=False)
    now: Callable[[], float]

    async def make(self, tenant_id: TenantId, algorithm: SigningAlgorithm, state: KeyState) -> SigningKeyRecord:
        """Return a new key; an RSA one takes a good part of a second of one core, so a thread makes it."""
        return await asyncio.to_thread(self._make, tenant_id, algorithm, state)

    def _make(self, tenant_id: TenantId, algorithm: SigningAlgorithm, state: KeyState) -> SigningKeyRecord:
        key = generate_key(algorithm)
        public = public_jwk(key)
        sealed = self.envelope.seal(private_bytes(key), tenant=str(tenant_id), purpose=SIGNING_KEY_PURPOSE)
        moment = self.now()
        return SigningKeyRecord(public["kid"], algorithm, state, public, sealed, moment, moment)


async def check_master_key(storage: OperatorStorage, envelope: Envelope) -> None:
    """Raise `SealBroken` unless the master key opens what is stored: a key sealed under another one would be lost.

    Every key of every tenant has to open: after a change of the master key some may still be sealed under the old one.
    """
    closed = []
    async for tenant in every_tenant(storage):
        if not opens_all(envelope, tenant.tenant_id, await storage.signing_keys(tenant.tenant_id)):
            closed.append(tenant.name)
    if closed:
        raise SealBroken(_not_opened(closed))


async def check_any_opens(storage: OperatorStorage, envelope: Envelope) -> None:
    """Raise `SealBroken` if the master key opens nothing that is stored, and something is: it is not this database's.

    What it opens in part is for whoever goes through the tenants: one tenant's row must not stop all others.
    """
    closed = []
    async for tenant in every_tenant(storage):
        for key in await storage.signing_keys(tenant.tenant_id):
            if key.state != "previous" and opens_all(envelope, tenant.tenant_id, [key]):
                return
        closed.append(tenant.name)
    if closed:
        raise SealBroken(_not_opened(closed))


def opens_all(envelope: Envelope, tenant_id: TenantId, keys: Sequence[SigningKeyRecord]) -> bool:
    """Whether the master key opens all keys of a tenant that sign or will; a previous one only verifies."""
    try:
        for key in keys:
            if key.state == "previous":
                continue
            envelope.open(key.sealed_private_key, tenant=str(tenant_id), purpose=SIGNING_KEY_PURPOSE)
    except SealBroken:
        return False
    return True


def _not_opened(tenants: Sequence[str]) -> str:
    more = f" and {len(tenants) - _NAMED} more" if len(tenants) > _NAMED else ""
    return f"it does not open the signing keys of {', '.join(tenants[:_NAMED])}{more}; add the one that sealed them"


async def every_tenant(storage: OperatorStorage) -> AsyncIterator[TenantRecord]:
    """Yield all tenants, by name."""
    after = None
    while records := await storage.list_tenants(after=after, limit=_TENANTS_AT_ONCE):
        for record in records:
            yield record
        after = records[-1].name


async def list_keys(storage: OperatorStorage, tenant: str) -> Sequence[SigningKeyRecord]:
    """Return a tenant's keys, newest first. Raises `NoSuchTenant`."""
    record = await tenant_named(storage, tenant)
    return await storage.signing_keys(record.tenant_id)


async def rotate(
    storage: OperatorStorage,
    maker: KeyMaker,
    tenant: str,
    algorithms: Sequence[SigningAlgorithm] | None = None,
    *,
    published_seconds: int = PUBLISHED_SECONDS,
) -> Sequence[Rotation]:
    """Rotate the keys of these algorithms (default: all), then drop previous keys that nothing valid needs.

    Raises `NoSuchTenant`, `SealBroken`.
    """
    record = await tenant_named(storage, tenant)
    await _check_own(storage, maker.envelope, record)
    done = []
    for name in algorithms or get_args(SigningAlgorithm):
        await complete(storage, maker, record.tenant_id, name)
        done.append(await rotate_one(storage, maker, record, name, published_seconds=published_seconds))
    await drop_unneeded(storage, record, now=maker.now())
    return done


async def _check_own(storage: OperatorStorage, envelope: Envelope, record: TenantRecord) -> None:
    """What another tenant's keys are sealed under is no reason to leave a leaked key of this one in use."""
    present = await storage.signing_keys(record.tenant_id)
    if not present:
        await check_master_key(storage, envelope)
    elif not opens_all(envelope, record.tenant_id, present):
        raise SealBroken(_not_opened([record.name]))


async def drop_unneeded(storage: OperatorStorage, record: TenantRecord, *, now: float) -> int:
    """Drop previous keys that nothing valid can have been signed with; return how many."""
    event = audit.event("signing_key.dropped", now=now, origin=None, actor=ACTOR)
    return await storage.drop_previous_keys(record.tenant_id, older_than=now - KEPT_SECONDS, event=event)


async def rotate_one(
    storage: OperatorStorage,
    maker: KeyMaker,
    record: TenantRecord,
    algorithm: SigningAlgorithm,
    *,
    published_seconds: int,
    replacing: str | None = None,
) -> Rotation:
    """Rotate one algorithm's keys, of which an active and a next one are there; with `replacing`, only that key."""
    new_next = await maker.make(record.tenant_id, algorithm, "next")
    now = maker.now()
    event = audit.event(
        "signing_key.rotated",
        now=now,
        origin=None,
        actor=ACTOR,
        details={"algorithm": algorithm, "next_kid": new_next.kid},
    )
    rotated = await storage.rotate_keys(
        record.tenant_id, algorithm, new_next, now=now, event=event, replacing=replacing
    )
    keys = {key.state: key for key in await storage.signing_keys(record.tenant_id) if key.algorithm == algorithm}
    active, following = keys["active"], keys["next"]
    if not rotated:
        return Rotation(algorithm, "lost", active.kid, following.kid)
    early = max(0, math.ceil(active.created_at + published_seconds - now))
    return Rotation(algorithm, "rotated", active.kid, following.kid, early)


async def complete(storage: OperatorStorage, maker: KeyMaker, tenant_id: TenantId, algorithm: SigningAlgorithm) -> None:
    """Make the active and the next key where one is missing."""
    present = {key.state for key in await storage.signing_keys(tenant_id) if key.algorithm == algorithm}
    states: tuple[KeyState, ...] = ("active", "next")
    for state in states:
        if state not in present:
            await add(storage, await maker.make(tenant_id, algorithm, state), tenant_id)


async def add(storage: OperatorStorage, key: SigningKeyRecord, tenant_id: TenantId) -> None:
    """Keep a new key, with its event."""
    event = audit.event(
        "signing_key.created",
        now=key.created_at,
        origin=None,
        actor=ACTOR,
        details={"algorithm": key.algorithm, "kid": key.kid, "state": key.state},
    )
    await storage.add_key(tenant_id, key, events=[event])


async def tenant_named(storage: OperatorStorage, name: str) -> TenantRecord:
    """Return a tenant. Raises `NoSuchTenant`."""
    record = await storage.find_tenant(name)
    if record is None:
        raise NoSuchTenant(f"there is no tenant {name}")
    return record
