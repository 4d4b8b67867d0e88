"""Tegata on a PostgreSQL that lets nobody in without a token of the moment: the server, its listener, and the commands.

The laboratory of `tegata_credentials.testing` is the cloud; PostgreSQL asks it about each login.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import httpx2
import psycopg
import pytest
from procrastinate.exceptions import ConnectorException

from tegata.crypto.envelope import new_master_key
from tegata.identifiers import TenantId
from tegata.postgres.bootstrap import bootstrap
from tegata.postgres.changes import ChangeListener
from tegata.postgres.engine import Database
from tegata.postgres.jobs import Chore, open_jobs
from tegata.postgres.migrate import migrate, pending
from tegata.postgres.passwords import Identity, IssuedPasswords
from tegata.postgres.storage import PostgresOperatorStorage, PostgresStorage
from tegata.postgres.target import ConnectionTarget
from tegata.storage.errors import Unavailable
from tegata.testing.clusters import QuickPostgres
from tegata.testing.patience import PATIENCE_SECONDS, PATIENT
from tegata.testing.records import inhabit
from tegata.testing.warm_starts import WarmPopen, run_to_its_end
from tegata_credentials.testing import REGION, Endpoint, Laboratory, free_port, server_settings

pytestmark = pytest.mark.anyio

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
TEGATA = Path(sys.executable).parent / "tegata"
RDS_NAME = f"tegata.c1.{REGION}.rds.amazonaws.com"
PID = "select pg_backend_pid()"
# Every statement logs in anew.
EACH_ANEW = replace(PATIENT, age_seconds=0.0)
_OF_CLOUDS = ("AZURE_", "IDENTITY_", "IMDS_", "MSI_", "AWS_", "PG", "DATABASE_", "DB_", "USE_MANAGED_IDENTITY")


@dataclass(frozen=True, slots=True)
class Judged:
    """A migrated database that the laboratory judges logins to, and the laboratory."""

    lab: Laboratory
    socket: ConnectionTarget  # whoever reaches it is let in
    url: str  # with USER in it

    def url_of(self, user: str) -> str:
        return self.url.replace("USER", user)

    def target(self, user: str, passwords: IssuedPasswords) -> ConnectionTarget:
        return ConnectionTarget.from_url(self.url_of(user)).asking(passwords)

    def end_sessions(self, user: str) -> None:
        with psycopg.connect(self.socket.psycopg_conninfo(), autocommit=True) as admin:
            ended = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = %s"
            assert set(admin.execute(ended, (user,)).fetchall()) == {(True,)}


@pytest.fixture(scope="module")
def made() -> Iterator[Judged]:
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed: the embedded one has neither LDAP nor TLS")
    directory = tempfile.mkdtemp(prefix="tegata-judged-")
    with Laboratory() as lab:
        settings, endpoint = server_settings(lab, "writer")
        server = QuickPostgres(Path(directory, "pg"), bindir=POSTGRES_15, durable=False, settings=settings)
        try:
            found = replace(server.start(), port=endpoint.port)
            bootstrap(found)
            migrate(found)
            with psycopg.connect(found.psycopg_conninfo(), autocommit=True) as admin:
                admin.execute("create role migrator login; grant tegata_owner to migrator")
            root = quote(str(lab.authority.root), safe="")
            url = f"postgresql://USER@127.0.0.1:{endpoint.port}/postgres?sslmode=verify-full&sslrootcert={root}"
            yield Judged(lab, found, url)
            server.stop()
            said = server.log_file.read_text(errors="replace")
            assert lab.leaks_in(said) == [], "a token is in the log of PostgreSQL"
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def judged(made: Judged, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judged]:
    """The laboratory, honest at the beginning; this process has the identity of a container in App Service."""
    for name in os.environ:
        if name.startswith(_OF_CLOUDS):
            monkeypatch.delenv(name)
    for name, value in made.lab.app_service().items():
        monkeypatch.setenv(name, value)
    made.lab.reset()
    for role in ("tegata_app", "tegata_maint", "migrator"):
        made.lab.map_role(role)
    yield made
    made.lab.reset()


@pytest.fixture
async def passwords(made: Judged) -> AsyncIterator[IssuedPasswords]:
    """By the clock of the cloud, which a test moves on: no token ends while a busy machine logs in with it."""
    issued = IssuedPasswords("managed_identity", clock=made.lab.clock, ticks=made.lab.clock)
    yield issued
    await issued.close()


async def test_several_lives_of_tokens_cost_no_request_an_error(
    judged: Judged, passwords: IssuedPasswords, count: Callable[..., None]
) -> None:
    judged.lab.issuer.lifetime_seconds = 600
    database = Database(judged.target("tegata_app", passwords), EACH_ANEW)
    logins = 0
    for _ in range(20):
        judged.lab.clock.offset_seconds += 100
        assert await asyncio.gather(*(database.value("select 1") for _ in range(4))) == [1] * 4
        logins += 4
    await database.close()
    lab = judged.lab
    count(
        "Tegata without a password, 3 lives of tokens",
        logins=logins,
        refused=len(lab.refusals()),
        identity_calls=len(lab.calls),
    )
    assert len(lab.logins("tegata_app")) == logins
    assert lab.refusals() == []
    assert 2 <= len(lab.calls) < logins / 4


async def test_a_token_that_was_revoked_early_is_replaced_and_the_login_tried_again(
    judged: Judged, passwords: IssuedPasswords
) -> None:
    database = Database(judged.target("tegata_app", passwords), EACH_ANEW)
    assert await database.value("select 1") == 1
    judged.lab.issuer.revoke_all()
    assert await database.value("select 1") == 1
    await database.close()
    assert [bind.is_accepted for bind in judged.lab.binds] == [True, False, True]


async def test_an_identity_service_that_is_away_is_unavailable_and_heals(
    judged: Judged, passwords: IssuedPasswords
) -> None:
    database = Database(judged.target("tegata_app", passwords), EACH_ANEW)
    judged.lab.go_down()
    try:
        with pytest.raises(Unavailable) as told:
            await database.value("select 1")
    finally:
        judged.lab.come_back()
    assert "no database credential" in str(told.value)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await answer_of(database) is None:  # a failure is remembered for a moment
            await asyncio.sleep(0.05)
    assert database.pool.open_connections <= 1
    await database.close()


async def answer_of(database: Database) -> object:
    try:
        return await database.value("select 1")
    except Unavailable:
        return None


async def test_a_role_that_is_not_mapped_is_unavailable_and_no_token_is_told(
    judged: Judged, passwords: IssuedPasswords
) -> None:
    target = judged.target("tegata_app", passwords)
    judged.lab.map_role("tegata_app", "00000000-0000-4000-8000-000000000000")
    database = Database(target, EACH_ANEW)
    with pytest.raises(Unavailable, match="28000") as told:
        await database.value("select 1")
    await database.close()
    assert judged.lab.leaks_in(f"{told.value!r} {told.value.__cause__!r} {target!r} {passwords!r}") == []


async def test_the_listener_logs_in_again_after_its_token_has_ended(judged: Judged, passwords: IssuedPasswords) -> None:
    judged.lab.issuer.lifetime_seconds = 600
    heard: list[str] = []
    news = asyncio.Event()

    def hear(tenant_id: TenantId | None, kind: str, key: str) -> None:
        heard.append(kind)
        news.set()

    listener = ChangeListener(judged.target("tegata_app", passwords), retry_seconds=0.05)
    listener.subscribe(hear)
    await listener.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await listener.until_listening()
    judged.lab.clock.offset_seconds += 700
    heard.clear()
    news.clear()
    judged.end_sessions("tegata_app")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await news.wait()
    assert heard == ["all"]
    await listener.close()
    assert judged.lab.refusals() == []


async def test_the_job_queue_logs_in_again_after_its_token_has_ended(
    judged: Judged, passwords: IssuedPasswords
) -> None:
    judged.lab.issuer.lifetime_seconds = 600
    done: list[str] = []

    async def do() -> Mapping[str, object]:
        done.append("chore")
        return {}

    chore = Chore("chore", "0 0 29 2 *", do)
    async with open_jobs(judged.target("tegata_maint", passwords), [chore], finish_seconds=PATIENCE_SECONDS) as jobs:
        judged.lab.clock.offset_seconds += 700
        judged.end_sessions("tegata_maint")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not done:
                with suppress(ConnectorException):  # the session that was ended is noticed when it is used
                    assert await jobs.do_all_once()
    assert done == ["chore"]
    assert judged.lab.refusals() == []
    tokens = {login.token for login in judged.lab.logins("tegata_maint")}
    assert len(tokens) > 1


async def test_migrations_and_operators_log_in_with_tokens(judged: Judged, passwords: IssuedPasswords) -> None:
    assert not await asyncio.to_thread(pending, judged.target("migrator", passwords))
    operator = PostgresOperatorStorage(judged.target("tegata_maint", passwords), PATIENT)
    here = await inhabit(operator)
    await operator.close()
    server = PostgresStorage(judged.target("tegata_app", passwords), PATIENT)
    await server.check()
    found = await server.find_tenant(here.name)
    assert found is not None
    await server.close()
    assert {bind.role for bind in judged.lab.logins()} == {"migrator", "tegata_maint", "tegata_app"}


async def test_each_login_to_rds_has_a_token_of_its_own(judged: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed for the name that AWS knows, whatever the URL calls it."""
    lab, port = judged.lab, judged.socket.port
    for name, value in lab.aws().items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(judged.socket.psycopg_conninfo(), autocommit=True) as admin:
        admin.execute("create role rds_one login; create role rds_two login")
    own = Endpoint("127.0.0.1", port, REGION)
    lab.serve_database("writer", Endpoint(RDS_NAME, port, REGION))
    issued = IssuedPasswords("aws_iam", Identity(aws_endpoint=RDS_NAME))
    try:
        for user in ("rds_one", "rds_two"):
            database = Database(judged.target(user, issued), EACH_ANEW)
            assert [await database.value("select current_user") for _ in range(3)] == [user] * 3
            await database.close()
    finally:
        lab.serve_database("writer", own)
        await issued.close()
    assert [(bind.role, bind.reason) for bind in lab.binds] == [("rds_one", None)] * 3 + [("rds_two", None)] * 3
    assert lab.calls == []


async def test_a_token_is_not_sent_without_verified_tls(passwords: IssuedPasswords) -> None:
    """Not to a remote host, however the URL is written; nothing is connected to, and no token asked for."""
    for mode in ("disable", "require", "prefer", "verify-ca"):
        target = ConnectionTarget.from_url(f"postgresql://tegata_app@db.example.com/tegata?sslmode={mode}")
        database = Database(target.asking(passwords))
        with pytest.raises(Unavailable, match="verify-full"):
            await database.value("select 1")


@dataclass(frozen=True, slots=True)
class Commands:
    """`tegata` as a process in the environment of a container with an identity."""

    environment: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_to_its_end([str(TEGATA), *words], env=self.environment, timeout=120)


async def test_the_commands_and_the_server_hold_no_password(judged: Judged, tmp_path: Path) -> None:
    """The names of seed 000, and a look at everything that is said for a token in it."""
    port = free_port()
    commands = Commands(
        {
            "PATH": os.environ["PATH"],
            **judged.lab.app_service(),
            "USE_MANAGED_IDENTITY": "true",
            "DATABASE_URL": judged.url_of("tegata_app"),
            "DB_POOL_SIZE": "2",
            "DB_MAX_OVERFLOW": "1",
            "DB_POOL_RECYCLE": "1800",
            "DB_POOL_PRE_PING": "true",
            "TEGATA_MAINTENANCE_DATABASE_URL": judged.url_of("tegata_maint"),
            "TEGATA_MIGRATION_DATABASE_URL": judged.url_of("migrator"),
            "TEGATA_MASTER_KEY": new_master_key(),
            "TEGATA_BASE_URL": "https://id.example.com",
            "TEGATA_PORT": str(port),
        }
    )
    said = ""
    for words in (("migrate", "--check"), ("doctor",), ("purge",)):
        done = await asyncio.to_thread(commands.run, *words)
        said += done.stdout + done.stderr
        assert done.returncode == 0, (words, said)
    log = tmp_path / "log"
    with log.open("wb") as sink:
        server = WarmPopen([str(TEGATA), "serve"], env=commands.environment, stdout=sink, stderr=subprocess.STDOUT)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            answer = await until_answered(http, server, log)
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "database": "connected", "auth_method": "managed_identity"}
    said += log.read_text()
    (budget,) = [json.loads(line) for line in said.splitlines() if '"connection_budget"' in line]
    assert budget["of_each"] == 4
    assert judged.lab.leaks_in(said) == []
    assert judged.lab.refusals() == []


async def until_answered(http: httpx2.AsyncClient, server: subprocess.Popen[bytes], log: Path) -> httpx2.Response:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            assert server.poll() is None, log.read_text()
            try:
                return await http.get("/health/db")
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
