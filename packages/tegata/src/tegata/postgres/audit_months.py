"""The months of the audit log as psycopg sees them: for `tegata migrate`, which makes them, and for the doctor.

`tegata.postgres.partitions` does the same and more in the background.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg

from tegata.postgres.logins import PsycopgConnection

MONTHS_AHEAD = 3

_IS_THERE = "select to_regprocedure('tegata.add_audit_partition(timestamptz, integer)') is not null"
_ADD = "select tegata.add_audit_partition(now(), %s)"
_STATE = """
    select coalesce((select max(extract(epoch from p.ends - now()))::bigint / 86400
                       from tegata.audit_partitions() p), 0),
           tegata.count_audit_events_without_month(10000)
"""


def add_months(session: PsycopgConnection) -> None:
    """Make the months to come, as the owner or maintenance. A log that is busy just now is left to the next purge."""
    if not _is_there(session):
        return
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        for _ in range(MONTHS_AHEAD):
            with session.transaction():
                session.execute(_ADD, (MONTHS_AHEAD,))


def months_state(session: PsycopgConnection) -> tuple[int, int] | None:
    """Return the days until the last month ends and the number of events without a month.

    The number is counted up to 10,000. None if this login may not ask, or the log is not kept by months yet.
    """
    if not _is_there(session):
        return None
    with suppress(psycopg.errors.InsufficientPrivilege), session.transaction():
        row = session.execute(_STATE).fetchone()
        assert row is not None
        return int(str(row[0])), int(str(row[1]))
    return None


def _is_there(session: PsycopgConnection) -> bool:
    row = session.execute(_IS_THERE).fetchone()
    return bool(row and row[0])
