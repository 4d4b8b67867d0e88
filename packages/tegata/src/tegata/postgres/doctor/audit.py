"""What the doctor says about the months of the audit log: no hole in the wall, but a job that does not run."""

from __future__ import annotations

import psycopg

from tegata.postgres.audit_months import months_state
from tegata.postgres.bootstrap import OWNER
from tegata.postgres.doctor.examination import Finding
from tegata.postgres.logins import open_psycopg
from tegata.postgres.target import ConnectionTarget

# Three months are made ahead: with less than this, nothing has made any for weeks.
_FEWEST_DAYS = 31
_FIX = "run `tegata worker` (or `tegata purge` from a timer) as the maintenance role"


def audit_warnings(target: ConnectionTarget) -> tuple[Finding, ...]:
    """Return a warning if months are missing ahead, and one if events lie in none. Reads only."""
    with open_psycopg(target) as connection:
        try:
            with connection.transaction():
                connection.execute(f"set local role {OWNER}".encode())
                state = months_state(connection)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
            state = months_state(connection)
    if state is None:
        return ()
    days, without_month = state
    found = []
    if days < _FEWEST_DAYS:
        told = f"the audit log has months for {max(days, 0)} days to come; later events share one partition"
        found.append(Finding("A01", "tegata.audit_event", told, _FIX, "warning"))
    if without_month:
        told = f"{without_month} audit events lie in no month: nobody has made it, or a clock was wrong"
        found.append(Finding("A02", "tegata.audit_event_other", told, _FIX, "warning"))
    return tuple(found)
