"""Acts of several tenants on one database, checked one by one, in processes of their own.

A pooler's mistakes show between client processes: one process alone hides them (pitfalls P127).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from uuid import UUID

from tegata.identifiers import TenantId, UserId
from tegata.postgres.storage import PostgresStorage
from tegata.postgres.target import ConnectionTarget
from tegata.postgres.tenancy import tenant
from tegata.testing.forked import PROCESSES
from tegata.testing.patience import PATIENT
from tegata.testing.records import NOW, Inhabited, event

_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Work:
    """What one process does: `count` acts of random tenants, `at_once` of them at the same time."""

    host: str
    port: int
    database: str
    user: str
    tenants: tuple[tuple[str, str, str], ...]  # id, name, user id
    count: int = 300
    at_once: int = 8
    transaction_pooler: bool = True
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What became of the acts. `wrong`: answers that belong to another tenant or to another question."""

    acts: int = 0
    wrong: int = 0
    errors: dict[str, int] = field(default_factory=dict)


def work_of(target: ConnectionTarget, tenants: Sequence[Inhabited]) -> Work:
    """Return the work for this way in and these tenants."""
    named = tuple((str(one.tenant_id), one.name, str(one.user_id)) for one in tenants)
    return Work(target.host, target.port, target.database, target.user, named)


def in_processes(work: Sequence[Work]) -> list[Outcome]:
    """Do each work in a process of its own, all at the same time."""
    pipes = [PROCESSES.Pipe(duplex=False) for _ in work]
    processes = [
        PROCESSES.Process(target=_perform_and_tell, args=(one, there))
        for one, (_, there) in zip(work, pipes, strict=True)
    ]
    try:
        for process, (_, there) in zip(processes, pipes, strict=True):
            process.start()
            there.close()
        return [_told(here) for here, _ in pipes]
    finally:
        for process, (here, _) in zip(processes, pipes, strict=True):
            here.close()
            if process.pid is not None:
                process.kill()
                process.join()


def _perform_and_tell(work: Work, there: Connection) -> None:
    there.send(asyncio.run(perform(work)))


def _told(here: Connection) -> Outcome:
    if not here.poll(_SECONDS):
        raise TimeoutError("the acts take too long")
    outcome = here.recv()
    assert isinstance(outcome, Outcome)
    return outcome


async def perform(work: Work) -> Outcome:
    """Do the work in this process."""
    target = ConnectionTarget(work.host, work.user, work.database, work.port)
    target = replace(target, transaction_pooler=work.transaction_pooler)
    storage = PostgresStorage(target, replace(PATIENT, size=work.at_once))
    tenants = [Inhabited(TenantId(UUID(one)), name, UserId(UUID(user))) for one, name, user in work.tenants]
    outcome, errors = Outcome(), Counter[str]()
    chance = random.Random(work.seed)  # noqa: S311 - the same acts each time
    acts = (_find_client, _take_code, _in_transaction)
    turns = iter([(chance.choice(acts), chance.choice(tenants)) for _ in range(work.count)])

    async def worker() -> None:
        for act, who in turns:
            (found,) = await asyncio.gather(act(storage, who), return_exceptions=True)
            if isinstance(found, BaseException):
                errors[type(found.__cause__ or found).__name__] += 1
            else:
                outcome.wrong += not found
            outcome.acts += 1

    await asyncio.gather(*(worker() for _ in range(work.at_once)))
    await storage.close()
    outcome.errors = dict(errors)
    return outcome


async def _find_client(storage: PostgresStorage, who: Inhabited) -> bool:
    tenant_record = await storage.find_tenant(who.name)
    client = await storage.find_client(who.tenant_id, "web")
    return (
        tenant_record is not None
        and tenant_record.tenant_id == who.tenant_id
        and client is not None
        and client.client_id == "web"
    )


async def _take_code(storage: PostgresStorage, who: Inhabited) -> bool:
    grant = who.grant()
    code = who.code(grant)
    await storage.store_code(who.tenant_id, code, interaction=None, events=[])
    taken = [
        await storage.take_code(
            who.tenant_id, code.digest, client_id="web", now=NOW, replay_event=event("code.replayed")
        )
        for _ in range(2)
    ]
    first = taken[0].code
    return first is not None and first.grant == grant and taken[1].outcome == "replayed"


async def _in_transaction(storage: PostgresStorage, who: Inhabited) -> bool:
    async with tenant(storage.database, who.tenant_id) as connection:
        await asyncio.sleep(0)
        set_to = await connection.fetchval("select current_setting('app.tenant_id')")
        rows = await connection.fetch("select distinct tenant_id from tegata.client where client_id = $1", "web")
    return set_to == str(who.tenant_id) and [row["tenant_id"] for row in rows] == [who.tenant_id]
