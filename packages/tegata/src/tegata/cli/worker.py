"""`tegata worker`: what has to be done again and again, by one of any number of workers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import replace

import structlog

from tegata.cli.clocks import agreed_time
from tegata.cli.failures import OK, UNAVAILABLE
from tegata.cli.keys import report_as_document, scheduled
from tegata.cli.rotation.chore import CRON, Rotations
from tegata.cli.surroundings import Surroundings
from tegata.cli.watched_settings import watching
from tegata.cli.ways_in import process_secrets, secret_figures
from tegata.postgres.jobs import Chore, Jobs, open_jobs
from tegata.telemetry import logs
from tegata.telemetry.library_logs import pass_on, pass_on_logins
from tegata.telemetry.secrets import SecretFigures

# How long the list of what was done is kept.
_KEPT_HOURS = 72
_log = structlog.get_logger("tegata.worker")


def run(*, once: bool) -> int:
    """Work until SIGTERM or SIGINT; with `once`, do everything now and end. Status 3 if something has failed."""
    surroundings = Surroundings.read()
    figures = secret_figures(surroundings.settings)
    # What the worker's own logins are read from is told like what it rotates.
    secrets = process_secrets(surroundings.settings, surroundings.environment, observer=figures)
    surroundings = replace(surroundings, secrets=secrets)
    logs.configure(level=surroundings.settings.log_level, form=surroundings.settings.log_format)
    for name in ("procrastinate", "psycopg.pool"):
        pass_on(name)
    pass_on_logins()
    return OK if asyncio.run(_run(surroundings, figures, once=once)) else UNAVAILABLE


async def _run(surroundings: Surroundings, figures: SecretFigures, *, once: bool) -> bool:
    chores = Chores(surroundings, figures)
    # Where something is wrong from the beginning, ending tells more than trying again.
    await chores.check()
    finish = surroundings.settings.shutdown_seconds
    async with (
        watching(surroundings.settings, surroundings.secrets),
        open_jobs(surroundings.maintenance(), chores.all(), finish_seconds=finish) as jobs,
    ):
        chores.jobs = jobs
        if once:
            return await jobs.do_all_once()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        _log.info("working", pid=os.getpid(), chores={chore.name: chore.cron for chore in chores.all()})
        await jobs.work(stopping)
    _log.info("stopped", pid=os.getpid())
    return True


class Chores:
    """What there is to do, and when (UTC)."""

    def __init__(self, surroundings: Surroundings, figures: SecretFigures) -> None:
        self._surroundings = surroundings
        self._figures = figures
        self._rotations = Rotations(surroundings.settings, observer=self._figures)
        self.jobs: Jobs | None = None

    def all(self) -> list[Chore]:
        """Return every chore."""
        minutes = self._surroundings.settings.purge_interval_minutes
        chores = [
            Chore("purge", f"*/{minutes} * * * *" if minutes < 60 else "0 * * * *", self.purge),
            Chore("partitions", "17 2 * * *", self.partitions),
            Chore("old_jobs", "37 3 * * *", self.old_jobs),
        ]
        if self._surroundings.has_master_key:
            chores.append(Chore("signing_keys", "7 * * * *", self.signing_keys))
        if self._rotations.secrets:
            chores.append(Chore("rotations", CRON, self.rotations))
        return chores

    async def check(self) -> None:
        """Raise what is wrong with the way into the database."""
        async with self._surroundings.storage():
            pass

    async def purge(self) -> Mapping[str, object]:
        """Delete what has expired."""
        days = self._surroundings.settings.audit_retention_days
        async with self._surroundings.storage() as storage:
            deleted = await storage.purge_expired(now=await agreed_time(storage), audit_retention_days=days)
        # As text: what is named like a token is hidden in logs, even its number.
        told = ", ".join(f"{table} {count}" for table, count in deleted.items() if count)
        return {"rows": sum(deleted.values()), "deleted": told}

    async def partitions(self) -> Mapping[str, object]:
        """Make the months of the audit log to come, and tell how it stands."""
        async with self._surroundings.storage() as storage:
            return await storage.prepare_audit(now=await agreed_time(storage))

    async def signing_keys(self) -> Mapping[str, object]:
        """Replace signing keys that are due."""
        report = await scheduled(self._surroundings)
        for key in report.keys:
            if key.needs_a_person:
                _log.warning("signing_key_not_rotated", tenant=key.tenant, algorithm=key.algorithm, reason=key.outcome)
        due = {"next_due_at": report_as_document(report)["next_due_at"]}
        return {"rotated": report.count("rotated"), "dropped": report.dropped, "waiting": report.count("waiting")} | due

    async def rotations(self) -> Mapping[str, object]:
        """Rotate secrets that are due."""
        try:
            return await self._rotations.do()
        finally:
            self._figures.flush()

    async def old_jobs(self) -> Mapping[str, object]:
        """Forget what was done days ago."""
        assert self.jobs is not None
        await self.jobs.forget_old(_KEPT_HOURS)
        return {}
