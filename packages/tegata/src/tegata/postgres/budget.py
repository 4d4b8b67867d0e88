"""Whether the server has room for all connections that Tegata may open: the formula, with the server's own numbers.

    processes x connections of each < max_connections - what the server keeps for itself

Too many are not refused at start but under load, to whoever comes last (pitfalls P103).
"""

from __future__ import annotations

from dataclasses import dataclass

from tegata.postgres.engine import Database

# PostgreSQL 16 added `reserved_connections`. A limit of a role or database is -1 where there is none.
_LIMITS = """
    select current_setting('max_connections')::int as most,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true), '0')::int as reserved,
           (select rolconnlimit from pg_roles where rolname = session_user) as of_role,
           (select datconnlimit from pg_database where datname = current_database()) as of_database
"""


@dataclass(frozen=True, slots=True)
class ConnectionBudget:
    """What one instance of Tegata may open, and what the server gives to all instances and everybody else."""

    processes: int
    of_each: int
    max_connections: int
    reserved: int
    allowed: int

    @property
    def wanted(self) -> int:
        """How many connections this instance opens at most."""
        return self.processes * self.of_each

    @property
    def fits(self) -> bool:
        """Whether something is left for operators' commands and for a second instance while the first one drains."""
        return self.wanted < self.allowed


async def connection_budget(database: Database, *, processes: int, of_each: int) -> ConnectionBudget:
    """Ask the server for its limits. Raises `Unavailable`."""
    row = await database.row(_LIMITS)
    assert row is not None
    limits = [row["most"] - row["reserved"]]
    limits += [limit for limit in (row["of_role"], row["of_database"]) if limit is not None and limit >= 0]
    return ConnectionBudget(processes, of_each, row["most"], row["reserved"], min(limits))
