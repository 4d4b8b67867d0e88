"""The SQL functions of the hot acts: one file each, applied again when its text changes.

The digest of the text that made a function is kept in the function's comment. Old and new release run side by side
during an upgrade, so a function whose signature changes gets a new name; this module refuses anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import psycopg

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, SCHEMA


@dataclass(frozen=True, slots=True)
class StoredFunction:
    """One function as this release wants it."""

    name: str
    text: str

    @property
    def comment(self) -> str:
        """What marks an installed function as made from this text."""
        return f"sha256:{sha256(self.text.encode()).hexdigest()}"

    @property
    def script(self) -> str:
        """Statements that install it and give it to the two roles alone."""
        name = f"{SCHEMA}.{self.name}"
        return (
            f"{self.text}"
            f"revoke all on function {name} from public;\n"
            f"grant execute on function {name} to {APPLICATION}, {MAINTENANCE};\n"
            f"comment on function {name} is '{self.comment}';\n"
        )


def wanted_functions() -> Sequence[StoredFunction]:
    """Return every function of this release, by name."""
    found = []
    for entry in files("tegata.postgres").joinpath("functions").iterdir():
        if entry.name.endswith(".sql"):
            name = entry.name.removesuffix(".sql")
            text = entry.read_text(encoding="utf-8")
            if f"create or replace function {SCHEMA}.{name}(" not in text:
                raise ValueError(f"functions/{entry.name} does not define {SCHEMA}.{name}")
            found.append(StoredFunction(name, text))
    return sorted(found, key=lambda function: function.name)


def changed_functions(connection: psycopg.Connection[tuple[object, ...]]) -> Sequence[StoredFunction]:
    """Return the functions that are missing or were made from another text."""
    rows = connection.execute(
        "select p.proname, obj_description(p.oid, 'pg_proc') from pg_proc p"
        " join pg_namespace n on n.oid = p.pronamespace where n.nspname = %s",
        (SCHEMA,),
    ).fetchall()
    installed = {(str(name), comment) for name, comment in rows}
    return [function for function in wanted_functions() if (function.name, function.comment) not in installed]


def apply_functions(connection: psycopg.Connection[tuple[object, ...]], functions: Sequence[StoredFunction]) -> None:
    """Install `functions` in the current transaction.

    Raises `ValueError` if one of them would stand beside an older one with other arguments.
    """
    for function in functions:
        connection.execute(function.script.encode())
        row = connection.execute(
            "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            " where n.nspname = %s and p.proname = %s",
            (SCHEMA, function.name),
        ).fetchone()
        if row is not None and row[0] != 1:
            raise ValueError(
                f"{SCHEMA}.{function.name} exists with other arguments: a changed signature needs a new name"
            )
