"""`tegata apply` and `tegata diff`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tegata.cli.failures import FOUND, OK, USAGE, CommandFailure
from tegata.cli.surroundings import Surroundings
from tegata.flows.admin.apply import apply, plan_for
from tegata.flows.admin.checks import check_documents
from tegata.flows.admin.desired import DesiredTenant, resolve
from tegata.flows.admin.differences import Difference
from tegata.flows.admin.documents import Document, parse_documents
from tegata.flows.admin.plan import Change, Plan
from tegata.flows.admin.problems import InvalidDocuments, Problem
from tegata.flows.admin.references import References, Unresolvable
from tegata.flows.admin.yaml_reader import MAX_BYTES

_SIGNS = {"create": "+", "update": "~", "delete": "-", "unchanged": " "}
_MAX_SHOWN_CHARACTERS = 100


def run(files: Sequence[Path], *, prune: bool, dry_run: bool) -> int:
    """Apply, or with `dry_run` show what that would do."""
    surroundings = Surroundings.read()
    desired = load(files, surroundings.references(), allow_loopback_http=surroundings.allow_loopback_http)
    done = asyncio.run(
        _plan(surroundings, desired, prune=prune) if dry_run else _apply(surroundings, desired, prune=prune)
    )
    print("\n".join(describe(done, done=not dry_run)))
    return OK


def run_diff(files: Sequence[Path], *, prune: bool) -> int:
    """Show what apply would do."""
    surroundings = Surroundings.read()
    desired = load(files, surroundings.references(), allow_loopback_http=surroundings.allow_loopback_http)
    found = asyncio.run(_plan(surroundings, desired, prune=prune))
    print("\n".join(describe(found, done=False)))
    return OK if found.is_empty else FOUND


def load(files: Sequence[Path], references: References, *, allow_loopback_http: bool) -> tuple[DesiredTenant, ...]:
    """Read, check and resolve documents. Raises `InvalidDocuments`, `CommandFailure`."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in _expand(files):
        try:
            content = _resolve(path, references) if _is_reference(path) else _read(path)
            documents.extend(parse_documents(content, "standard input" if str(path) == "-" else str(path)))
        except InvalidDocuments as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidDocuments(problems)
    if not documents:
        raise CommandFailure("the input holds no document", USAGE)
    check_documents(documents, allow_loopback_http=allow_loopback_http)
    return resolve(documents, references)


def describe(plan: Plan, *, done: bool) -> Iterable[str]:
    """Yield a plan as lines: what changes, field by field, and a summary."""
    for change in plan.changes:
        if change.action == "unchanged":
            continue
        yield f"{_SIGNS[change.action]} {change.kind} {_name(change)}"
        for difference in change.differences:
            yield f"    {difference.field}: {_values(difference)}"
    counts = [
        f"{plan.count('create')} {'created' if done else 'to create'}",
        f"{plan.count('update')} {'updated' if done else 'to update'}",
        f"{plan.count('delete')} {'deleted' if done else 'to delete'}",
        f"{plan.count('unchanged')} unchanged",
    ]
    yield ", ".join(counts)


def _name(change: Change) -> str:
    return change.name if change.kind == "Tenant" else f"{change.tenant}/{change.name}"


def _values(difference: Difference) -> str:
    if difference.secret:
        return "changed (not shown)"
    return f"{_value(difference.before)} -> {_value(difference.after)}"


def _value(value: Any) -> str:
    if value is None:
        return "(not set)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[:_MAX_SHOWN_CHARACTERS] + "..."


def _expand(files: Sequence[Path]) -> Iterable[Path]:
    for path in files:
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.suffix in {".yaml", ".yml"})
            if not found:
                raise CommandFailure(f"the directory {path} holds no .yaml file", USAGE)
            yield from found
        else:
            yield path


def _read(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandFailure(f"{path} cannot be read: {error.strerror}", USAGE) from None


def _is_reference(path: Path) -> bool:
    """Tell what is kept elsewhere from a file, whatever that is called: a container has no file, nor an input."""
    return str(path).startswith(("env:", "awssm:")) and not path.exists()


def _resolve(reference: Path, references: References) -> bytes:
    try:
        return references.resolve(str(reference)).encode()
    except Unresolvable as error:
        raise CommandFailure(f"the documents cannot be read: {error}", USAGE) from None


async def _plan(surroundings: Surroundings, desired: Sequence[DesiredTenant], *, prune: bool) -> Plan:
    async with surroundings.reading() as storage:
        return await plan_for(storage, desired, prune=prune)


async def _apply(surroundings: Surroundings, desired: Sequence[DesiredTenant], *, prune: bool) -> Plan:
    async with surroundings.operator() as operator:
        return await apply(operator, desired, prune=prune)
