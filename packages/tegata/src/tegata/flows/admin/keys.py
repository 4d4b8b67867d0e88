"""A tenant's signing keys: made, listed and rotated. next -> active -> previous -> gone.

A key is published before it signs and stays published until nothing it signed is valid any more, so that verifiers
with a cached JWKS never meet an unknown key (OIDC Core §10.1.1).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from tegata.crypto.envelope import Envelope
from tegata.crypto.keys import generate_key, private_bytes, public_jwk
from tegata.flows.admin.key_times import MARGIN_SECONDS, PUBLISHED_SECONDS
from tegata.flows.directory import SIGNING_KEY_PURPOSE
from tegata.identifiers import TenantId
from tegata.protocol.client import Client
from tegata.protocol.policy import SigningAlgorithm, TenantPolicy
from tegata.storage.ports import OperatorStorage
from tegata.storage.records import KeyState, SigningKeyRecord, TenantRecord
from tegata.telemetry import audit

ACTOR = "operator"


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
    """Raise `SealBroken` unless the master key opens what is stored: a key sealed under another one would be lost."""
    for tenant in await storage.list_tenants(limit=1):
        owner = str(tenant.tenant_id)
        for key in await storage.signing_keys(tenant.tenant_id):
            envelope.open(key.sealed_private_key, tenant=owner, purpose=SIGNING_KEY_PURPOSE)


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
    await check_master_key(storage, maker.envelope)
    done = []
    for name in algorithms or get_args(SigningAlgorithm):
        await complete(storage, maker, record.tenant_id, name)
        done.append(await rotate_one(storage, maker, record, name, published_seconds=published_seconds))
    await drop_unneeded(storage, record, now=maker.now())
    return done


async def drop_unneeded(storage: OperatorStorage, record: TenantRecord, *, now: float) -> int:
    """Drop previous keys that nothing valid can have been signed with; return how many."""
    kept = await kept_seconds(storage, record)
    event = audit.event("signing_key.dropped", now=now, origin=None, actor=ACTOR)
    return await storage.drop_previous_keys(record.tenant_id, older_than=now - kept, event=event)


async def kept_seconds(storage: OperatorStorage, record: TenantRecord) -> int:
    """Return how long a previous key stays published."""
    return longest_lifetime(record.policy, await storage.list_clients(record.tenant_id)) + MARGIN_SECONDS


def longest_lifetime(policy: TenantPolicy, clients: Sequence[Client]) -> int:
    """Return how many seconds a token signed now can be valid at most."""
    own = (client.metadata.access_token_lifetime_seconds or 0 for client in clients)
    return max(policy.access_token_lifetime_seconds, policy.id_token_lifetime_seconds, *own)


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
