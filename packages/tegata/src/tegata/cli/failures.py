"""How a command ends: exit codes, and errors as sentences for the person at the terminal.

0: done, nothing found. 1: there is a finding or a difference. 2: the command, a setting or a document is wrong.
3: something needed is not available (database, port, file), or changed at the same moment; trying again may help.
4: it is too early (a rotation that waits for a cache or a replica): run it again later.
"""

from __future__ import annotations

from tegata.postgres.advice import advice_on_text
from tegata.postgres.server_words import told as told_by_server

OK = 0
FOUND = 1
USAGE = 2
UNAVAILABLE = 3
WAITING = 4


class CommandFailure(Exception):
    """Ends a command with a message on standard error."""

    def __init__(self, message: str, exit_code: int = UNAVAILABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def explain(error: BaseException) -> CommandFailure | None:
    """Return what to tell about an error that a command can meet in ordinary life, or None for a fault of ours."""
    if isinstance(error, CommandFailure):
        return error
    # By name, so that no command has to load the modules of another one to end well.
    for kind in type(error).__mro__:
        told = _TOLD.get(f"{kind.__module__}.{kind.__qualname__}")
        if told is not None:
            prefix, exit_code = told
            return CommandFailure(f"{prefix}{_text(error)}", exit_code)
    return None


def _text(error: BaseException) -> str:
    problems = getattr(error, "problems", None)
    if isinstance(problems, list) and problems:
        return "\n".join(str(problem) for problem in problems)
    if hasattr(error, "diag"):
        return _said_by_psycopg(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"  # what str() says begins with a number
    return str(error).strip()


def _said_by_psycopg(error: BaseException) -> str:
    """Return one line: what the server says and advises, without the statement and the place in it."""
    diagnostics = error.diag  # type: ignore[attr-defined]  # known by name, as the classes are
    parts = [diagnostics.message_primary or str(error), diagnostics.message_hint]
    if diagnostics.message_primary is None:
        # No session has begun.
        parts.append(advice_on_text(str(error)))
    return "; ".join(told_by_server(part) for part in parts if part)


_DATABASE = "the database cannot be used: "
_TOLD = {
    "tegata.settings.environment.SettingsUnavailable": ("", UNAVAILABLE),
    "tegata.settings.environment.SettingsError": ("", USAGE),
    "tegata.flows.admin.problems.InvalidDocuments": ("", USAGE),
    "tegata.flows.admin.keys.NoSuchTenant": ("", USAGE),
    "tegata.postgres.postmaster.EmbeddedPostgresError": ("", UNAVAILABLE),
    "tegata.postgres.migrate.MigrationError": ("", UNAVAILABLE),
    "tegata.postgres.bootstrap.BootstrapError": ("", UNAVAILABLE),
    "tegata.storage.errors.Unavailable": (_DATABASE, UNAVAILABLE),
    "tegata.storage.errors.Conflict": ("somebody else changed the same thing just now; run it again: ", UNAVAILABLE),
    "tegata.crypto.envelope.SealBroken": ("TEGATA_MASTER_KEY does not fit this database: ", USAGE),
    "tegata_credentials.errors.SecretError": ("", UNAVAILABLE),
    "tegata_credentials.errors.CredentialError": (_DATABASE, UNAVAILABLE),
    "psycopg.errors.InsufficientPrivilege": ("this database login may not do that: ", UNAVAILABLE),
    "psycopg.OperationalError": (_DATABASE, UNAVAILABLE),
    "psycopg.Error": (_DATABASE, UNAVAILABLE),
    "asyncpg.exceptions._base.PostgresError": (_DATABASE, UNAVAILABLE),
    "asyncpg.exceptions._base.InterfaceError": (_DATABASE, UNAVAILABLE),
    "builtins.OSError": ("", UNAVAILABLE),
}
