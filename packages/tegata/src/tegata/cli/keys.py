"""`tegata keys ...`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import get_args

from tegata.cli.clocks import agreed_time
from tegata.cli.failures import FOUND, OK, USAGE, CommandFailure
from tegata.cli.surroundings import Surroundings
from tegata.crypto.envelope import new_master_key
from tegata.flows.admin.apply import Operator
from tegata.flows.admin.key_schedule import Outcome, ScheduledKey, ScheduleReport, rotate_due
from tegata.flows.admin.key_times import MOST_PUBLISHED_KEYS
from tegata.flows.admin.keys import Rotation, list_keys, rotate
from tegata.protocol.policy import SigningAlgorithm
from tegata.settings import published_problem
from tegata.storage.records import SigningKeyRecord

_QUIET: tuple[Outcome, ...] = ("not_due", "never")


def run_list(tenant: str) -> int:
    """Print a tenant's keys, one a line."""
    for key in asyncio.run(_list(Surroundings.read(), tenant)):
        print(f"{key.algorithm}  {key.state:<8}  since {_time(key.state_changed_at)}  {key.kid}")
    return OK


def run_rotate(tenant: str, algorithm: str | None) -> int:
    """Rotate. Status 1 if somebody else did so at the same moment."""
    known: tuple[SigningAlgorithm, ...] = get_args(SigningAlgorithm)
    chosen = tuple(name for name in known if algorithm in (None, name))
    if not chosen:
        raise CommandFailure(f"--algorithm must be one of {', '.join(known)}", USAGE)
    surroundings = Surroundings.read()
    rotations, published = asyncio.run(_rotate(surroundings, tenant, chosen))
    for rotation in rotations:
        if rotation.outcome == "rotated":
            print(f"{rotation.algorithm}: now signing with {rotation.active}, next will be {rotation.next}")
            if rotation.early_seconds:
                _warn_of_early_use(rotation, surroundings.settings.key_schedule.published_seconds)
        else:
            print(f"{rotation.algorithm}: somebody else rotated at the same moment; nothing was done here")
    if published > MOST_PUBLISHED_KEYS:
        print(
            f"warning: {tenant} publishes {published} keys, and the ALB of AWS takes no more than "
            f"{MOST_PUBLISHED_KEYS} of them. Previous ones go when nothing valid needs them.",
            file=sys.stderr,
        )
    return OK if all(rotation.outcome == "rotated" for rotation in rotations) else FOUND


def _warn_of_early_use(rotation: Rotation, published_seconds: int) -> None:
    print(
        f"{rotation.algorithm}: warning: {rotation.active} was published {published_seconds - rotation.early_seconds} s"
        f" ago. Verifiers that read the keys before that may refuse its tokens for up to {rotation.early_seconds} s"
        " more.",
        file=sys.stderr,
    )


def run_schedule(tenant: str | None, *, as_document: bool) -> int:
    """Rotate what is due. Status 1 if a person has to look at a key."""
    report = asyncio.run(scheduled(Surroundings.read(), tenant))
    print(json.dumps(report_as_document(report)) if as_document else "\n".join(_lines(report)))
    return FOUND if any(key.needs_a_person for key in report.keys) else OK


async def scheduled(surroundings: Surroundings, tenant: str | None = None) -> ScheduleReport:
    """Rotate what is due. Raises `CommandFailure` if this machine's clock is not to be believed."""
    problem = published_problem(surroundings.settings)
    if problem is not None:
        raise CommandFailure(problem, USAGE)
    async with surroundings.operator() as operator:
        await _check_clock(operator)
        return await rotate_due(operator.storage, operator.key_maker(), surroundings.settings.key_schedule, tenant)


def report_as_document(report: ScheduleReport) -> Mapping[str, object]:
    """Return what was done, for programs: keys of which there is nothing to tell are only counted."""
    return {
        "keys": [
            {
                "tenant": key.tenant,
                "algorithm": key.algorithm,
                "outcome": key.outcome,
                "active": key.active,
                "due_at": _time_or_none(key.due_at),
            }
            for key in report.keys
            if key.outcome not in _QUIET
        ],
        "rotated": report.count("rotated"),
        "unchanged": sum(report.count(outcome) for outcome in _QUIET),
        "dropped": report.dropped,
        "next_due_at": _time_or_none(report.next_due_at),
    }


def _lines(report: ScheduleReport) -> Iterator[str]:
    for key in report.keys:
        if key.outcome not in _QUIET:
            yield f"{key.tenant} {key.algorithm}: {_told(key)}"
    due = report.next_due_at
    yield (
        f"{report.count('rotated')} rotated, {report.dropped} previous keys dropped, "
        + (f"next due {_time(due)}" if due is not None else "nothing will be due: TEGATA_SIGNING_KEY_DAYS is 0")
    )


def _told(key: ScheduledKey) -> str:
    later = "never" if key.due_at is None else _time(key.due_at)
    said = {
        "rotated": f"now signing with {key.active}",
        "lost": "somebody else rotated at the same moment; nothing was done here",
        "waiting": f"due, but not everybody can have its successor yet; run it again after {later}",
        "full": f"due, but {MOST_PUBLISHED_KEYS} keys are published and all are needed until {later}; the active one "
        "goes on signing. Rotate more seldom: a previous key stays for two days.",
        "sealed": "due, but TEGATA_MASTER_KEY does not open its successor; the active one goes on signing. Run it with "
        "the master key that sealed it (`tegata keys list` shows its kid).",
    }
    return said[key.outcome]


def run_new_master_key() -> int:
    """Print a new master key."""
    print(new_master_key())
    return OK


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _time_or_none(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _list(surroundings: Surroundings, tenant: str) -> Sequence[SigningKeyRecord]:
    async with surroundings.storage() as storage:
        return await list_keys(storage, tenant)


async def _rotate(
    surroundings: Surroundings, tenant: str, algorithms: Sequence[SigningAlgorithm]
) -> tuple[Sequence[Rotation], int]:
    published = surroundings.settings.key_schedule.published_seconds
    async with surroundings.operator() as operator:
        done = await rotated_by_hand(operator, tenant, algorithms, published_seconds=published)
        return done, len(await list_keys(operator.storage, tenant))


async def rotated_by_hand(
    operator: Operator, tenant: str, algorithms: Sequence[SigningAlgorithm], *, published_seconds: int
) -> Sequence[Rotation]:
    """Rotate now. Raises `CommandFailure` if this machine's clock is not to be believed."""
    await _check_clock(operator)
    return await rotate(operator.storage, operator.key_maker(), tenant, algorithms, published_seconds=published_seconds)


async def _check_clock(operator: Operator) -> None:
    # By a clock that is far ahead every key would be old, and no previous one needed.
    await agreed_time(operator.storage, operator.now, so="no key is replaced")
