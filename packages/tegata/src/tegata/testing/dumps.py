"""Catalogues as text, by PostgreSQL's own pg_dump: two set-ups are the same if their dumps are."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tegata.postgres.embedded import wheel_binaries
from tegata.postgres.target import ConnectionTarget


def psql(target: ConnectionTarget, script: str, *, bindir: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script with psql, as an operator would. The result has the exit status and what psql said."""
    program = (bindir or wheel_binaries()) / "psql"
    return _run([str(program), "--no-psqlrc", "--quiet", target.psycopg_conninfo()], script)


def dump(target: ConnectionTarget, *, bindir: Path | None = None) -> str:
    """Return the roles of the server and the schema of the database, in a form that is the same for the same things."""
    programs = bindir or wheel_binaries()
    roles = _run([str(programs / "pg_dumpall"), "--roles-only", "--no-role-passwords", "-d", target.psycopg_conninfo()])
    schema = _run([str(programs / "pg_dump"), "--schema-only", "--create", "-d", target.psycopg_conninfo()])
    for finished in (roles, schema):
        if finished.returncode:
            raise RuntimeError(finished.stderr)
    # The lines that newer versions put around a dump carry a random word; comments carry versions.
    text = re.sub(r"^(\\(un)?restrict .*|--.*)\n", "", roles.stdout + schema.stdout, flags=re.MULTILINE)
    return re.sub(r"\n{2,}", "\n", text)


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    # No PG* variable of the shell may lead anywhere else.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(  # noqa: S603 - PostgreSQL's own programs, no shell
        command, input=text, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
