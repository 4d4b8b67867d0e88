"""`tegata purge`: delete what has expired, once, as the maintenance role. `tegata worker` does it again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tegata.cli.clocks import agreed_time
from tegata.cli.failures import OK
from tegata.cli.surroundings import Surroundings


def run() -> int:
    """Delete in batches and print how many rows of each kind went."""
    for table, count in asyncio.run(_purge(Surroundings.read())).items():
        print(f"{table:<20} {count}")
    return OK


async def _purge(surroundings: Surroundings) -> Mapping[str, int]:
    async with surroundings.storage() as storage:
        return await storage.purge_expired(
            now=await agreed_time(storage), audit_retention_days=surroundings.settings.audit_retention_days
        )
