"""`tegata doctor`."""

from __future__ import annotations

from tegata.cli.failures import FOUND, OK
from tegata.cli.surroundings import Surroundings
from tegata.postgres.doctor import Diagnosis, examine


def run() -> int:
    """Examine the database's wall between tenants. Status 1 if there is something to mend."""
    surroundings = Surroundings.read()
    diagnosis = examine(surroundings.migration(), application=surroundings.application())
    print("\n".join(describe(diagnosis)))
    return OK if diagnosis.is_healthy else FOUND


def describe(diagnosis: Diagnosis) -> list[str]:
    """Return what was found as lines: each finding with its meaning and its cure, then what was done."""
    lines = [f"{found.check} {found.object}: {found.explanation}; {found.fix}" for found in diagnosis.findings]
    lines += [f"remark: {remark}" for remark in diagnosis.remarks]
    count = len(diagnosis.findings)
    found = "nothing found" if count == 0 else f"{count} found"
    return [*lines, f"{found} ({diagnosis.checks} checks of the catalogue, {diagnosis.probes} attempts on the wall)"]
