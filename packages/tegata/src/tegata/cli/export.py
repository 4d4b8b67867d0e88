"""`tegata export`."""

from __future__ import annotations

import asyncio
import sys

from tegata.cli.failures import OK
from tegata.cli.surroundings import Surroundings
from tegata.flows.admin.current import read_current
from tegata.flows.admin.export import export, to_yaml
from tegata.flows.admin.keys import NoSuchTenant


def run(tenant: str) -> int:
    """Print a tenant as YAML documents."""
    sys.stdout.write(asyncio.run(_export(Surroundings.read(), tenant)))
    return OK


async def _export(surroundings: Surroundings, tenant: str) -> str:
    async with surroundings.reading() as storage:
        found = await read_current(storage, [tenant])
    if tenant not in found:
        raise NoSuchTenant(f"there is no tenant {tenant}")
    return to_yaml(export(found[tenant]))
