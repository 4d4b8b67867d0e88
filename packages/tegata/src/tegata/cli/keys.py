"""`tegata keys ...`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

from tegata.cli.failures import FOUND, OK, USAGE, CommandFailure
from tegata.cli.surroundings import Surroundings
from tegata.crypto.envelope import new_master_key
from tegata.flows.admin.keys import PUBLISHED_SECONDS, Rotation, list_keys, rotate
from tegata.protocol.policy import SigningAlgorithm
from tegata.storage.records import SigningKeyRecord


def run_list(tenant: str) -> int:
    """Print a tenant's keys, one a line."""
    for key in asyncio.run(_list(Surroundings.read(), tenant)):
        since = datetime.fromtimestamp(key.state_changed_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        print(f"{key.algorithm}  {key.state:<8}  since {since}  {key.kid}")
    return OK


def run_rotate(tenant: str, algorithm: str | None) -> int:
    """Rotate. Status 1 if somebody else did so at the same moment."""
    known: tuple[SigningAlgorithm, ...] = get_args(SigningAlgorithm)
    chosen = tuple(name for name in known if algorithm in (None, name))
    if not chosen:
        raise CommandFailure(f"--algorithm must be one of {', '.join(known)}", USAGE)
    rotations = asyncio.run(_rotate(Surroundings.read(), tenant, chosen))
    for rotation in rotations:
        if rotation.outcome == "rotated":
            print(f"{rotation.algorithm}: now signing with {rotation.active}, next will be {rotation.next}")
            if rotation.early_seconds:
                _warn_of_early_use(rotation)
        else:
            print(f"{rotation.algorithm}: somebody else rotated at the same moment; nothing was done here")
    return OK if all(rotation.outcome == "rotated" for rotation in rotations) else FOUND


def _warn_of_early_use(rotation: Rotation) -> None:
    print(
        f"{rotation.algorithm}: warning: {rotation.active} was published {PUBLISHED_SECONDS - rotation.early_seconds} s"
        f" ago. Verifiers that read the keys before that may refuse its tokens for up to {rotation.early_seconds} s"
        " more.",
        file=sys.stderr,
    )


def run_new_master_key() -> int:
    """Print a new master key."""
    print(new_master_key())
    return OK


async def _list(surroundings: Surroundings, tenant: str) -> Sequence[SigningKeyRecord]:
    async with surroundings.storage() as storage:
        return await list_keys(storage, tenant)


async def _rotate(
    surroundings: Surroundings, tenant: str, algorithms: Sequence[SigningAlgorithm]
) -> Sequence[Rotation]:
    async with surroundings.operator() as operator:
        return await rotate(operator.storage, operator.key_maker(), tenant, algorithms)
