"""`tegata doctor`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType

from tegata.cli.failures import FOUND, OK, USAGE, CommandFailure, explain
from tegata.cli.surroundings import Surroundings
from tegata.postgres.doctor import Diagnosis, Wall, as_json, as_lines, examine, failure_as_json
from tegata.postgres.doctor.audit import audit_warnings


def run(*, as_document: bool = False, strict: bool = False, wall_file: Path | None = None) -> int:
    """Examine the wall between tenants. Status 1 if there is something to mend, 2 or 3 if it could not be examined."""
    with _ReasonForPrograms(as_document):
        diagnosis = _examine(wall_file)
    print(as_json(diagnosis) if as_document else "\n".join(as_lines(diagnosis)))
    return OK if (diagnosis.is_proven if strict else diagnosis.is_healthy) else FOUND


class _ReasonForPrograms:
    """Prints, as JSON, why the database could not be examined; people read it on standard error as ever."""

    def __init__(self, as_document: bool) -> None:
        self._as_document = as_document

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = explain(error) if self._as_document and error is not None else None
        if failure is not None:
            print(failure_as_json(str(failure)))


def _examine(wall_file: Path | None) -> Diagnosis:
    surroundings = Surroundings.read()
    if wall_file is None:
        target = surroundings.migration()
        diagnosis = examine(target, application=surroundings.application())
        # Where a finding says that there is nothing yet, there are no months to look at either.
        return replace(diagnosis, findings=(*diagnosis.findings, *audit_warnings(target)))
    wall = _read_wall(wall_file)
    if surroundings.development is not None:
        # The database of `tegata dev` is not the one that the file speaks of.
        raise CommandFailure("TEGATA_MIGRATION_DATABASE_URL is not set: --wall needs to know which database", USAGE)
    return examine(surroundings.migration(), application=surroundings.application(), wall=wall)


def _read_wall(wall_file: Path) -> Wall:
    try:
        return Wall.from_toml(wall_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandFailure(f"{wall_file}: {error}", USAGE) from None
