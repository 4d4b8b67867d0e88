"""`tegata worker` on a PostgreSQL that lets nobody in without a token of the moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tegata.postgres.bootstrap import MAINTENANCE, bootstrap
from tegata.postgres.migrate import migrate
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import QuickPostgres
from tegata.testing.warm_starts import WarmPopen
from tegata_credentials.testing import Laboratory, server_settings

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
TEGATA = Path(sys.executable).parent / "tegata"


@dataclass(frozen=True, slots=True)
class Judged:
    """A migrated database that the laboratory judges logins to."""

    lab: Laboratory
    socket: ConnectionTarget  # whoever reaches it is let in
    environment: dict[str, str]

    def value(self, query: str) -> object:
        path = "-c search_path=tegata_jobs"
        with psycopg.connect(self.socket.psycopg_conninfo(), autocommit=True, options=path) as admin:
            row = admin.execute(query.encode()).fetchone()
        return row[0] if row else None

    def wait_for(self, query: str, wanted: object) -> None:
        deadline = time.monotonic() + 60
        while (found := self.value(query)) != wanted:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def end_sessions(self) -> None:
        self.value("select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where usename = 'tegata_maint'")

    def wait_for_newer_token(self, number: int) -> None:
        """Wait for a login with a token that was made after so many. One that came late may have been used longer."""
        deadline = time.monotonic() + 60
        while not any(login.token is not None and login.token > number for login in self.lab.logins()):
            assert time.monotonic() < deadline, self.lab.logins()
            self.end_sessions()
            time.sleep(1)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed: the embedded one has neither LDAP nor TLS")
    directory = tempfile.mkdtemp(prefix="tegata-judged-")
    with Laboratory() as lab:
        settings, endpoint = server_settings(lab, "writer")
        server = QuickPostgres(Path(directory, "pg"), bindir=POSTGRES_15, durable=False, settings=settings)
        try:
            socket = replace(server.start(), port=endpoint.port)
            bootstrap(socket)
            migrate(socket)
            lab.map_role(MAINTENANCE)
            root = quote(str(lab.authority.root), safe="")
            url = (
                f"postgresql://{MAINTENANCE}@127.0.0.1:{endpoint.port}/postgres?sslmode=verify-full&sslrootcert={root}"
            )
            environment = {
                "PATH": os.environ["PATH"],
                "TEGATA_HOME": str(tmp_path_factory.mktemp("home")),
                "TEGATA_MAINTENANCE_DATABASE_URL": url,
                "TEGATA_DATABASE_AUTH": "managed_identity",
                **lab.app_service(),
            }
            yield Judged(lab, socket, environment)
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)


def test_a_worker_outlives_its_tokens_and_shows_none(judged: Judged) -> None:
    # What the worker is told of their end; the judge is more patient: a login may take long on a busy machine.
    judged.lab.identity.behaviour.announced_seconds = 2
    process = WarmPopen(
        [str(TEGATA), "worker"], env=judged.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        judged.wait_for("select count(*) from tegata_jobs.procrastinate_workers", 1)
        judged.wait_for(
            "select count(distinct task_name) from tegata_jobs.procrastinate_jobs where status = 'succeeded'", 3
        )
        time.sleep(2.5)  # every token of the beginning has ended
        made = len(judged.lab.issuer.issued)
        judged.end_sessions()
        judged.value(
            "insert into tegata_jobs.procrastinate_jobs (queue_name, task_name, args)"
            " values ('tegata', 'purge', '{\"timestamp\": 1}') returning id"
        )
        judged.wait_for(
            "select status::text from tegata_jobs.procrastinate_jobs where args ->> 'timestamp' = '1'", "succeeded"
        )
        judged.wait_for_newer_token(made)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=90)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, said
    assert judged.lab.refusals() == []
    assert judged.lab.leaks_in(said) == []
