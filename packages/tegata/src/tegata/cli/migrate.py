"""`tegata migrate`."""

from __future__ import annotations

import sys

from tegata.cli.failures import FOUND, OK
from tegata.cli.surroundings import Surroundings
from tegata.postgres import migrate as migrations
from tegata.postgres.bootstrap import bootstrap


def run(*, check: bool, sql: bool, after: str | None, with_bootstrap: bool) -> int:
    """Migrate, say what is missing, or print it as SQL."""
    if sql:
        sys.stdout.write(migrations.migration_script(after=after))
        return OK
    target = Surroundings.read().migration()
    if with_bootstrap:
        bootstrap(target)
    found = migrations.pending(target) if check else migrations.migrate(target)
    word = "missing" if check else "applied"
    for revision in found.revisions:
        print(f"{word}: revision {revision}")
    for function in found.functions:
        print(f"{word}: function {function}")
    if not found:
        print("the schema is up to date")
    return FOUND if check and found else OK
