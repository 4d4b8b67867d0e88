"""One `tegata serve` worker on a PostgreSQL of its own, pinned to one core; everything else runs on the others."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tegata.cli.databases import operator_storage
from tegata.crypto.envelope import Envelope, new_master_key
from tegata.flows.admin.apply import Operator, apply
from tegata.flows.admin.desired import resolve
from tegata.flows.admin.documents import parse_documents
from tegata.flows.admin.references import standard_references
from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, bootstrap
from tegata.postgres.embedded import EmbeddedPostgres
from tegata.postgres.migrate import migrate
from tegata.postgres.target import ConnectionTarget

_TENANT = Path(__file__).with_name("tenant.yaml")


@dataclass(frozen=True, slots=True)
class Running:
    """A server process, its port, its secrets and the process id of its PostgreSQL."""

    process: subprocess.Popen[bytes]
    port: int
    secret: str
    password: str
    postmaster: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used."""
        return _cpu_seconds(self.process.pid)

    def database_cpu_seconds(self) -> float:
        """Return the CPU time of PostgreSQL and its children, living and waited for."""
        children = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
        mine = [pid for pid in children if _parent(pid) == self.postmaster]
        return sum(_cpu_seconds(pid, waited=pid == self.postmaster) for pid in [self.postmaster, *mine])

    def memory_megabytes(self) -> float:
        """Return the proportional set size."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        return 0.0


@contextmanager
def running(home: Path, *, core: int, more: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start PostgreSQL and one worker, and stop both. `more`: settings of the worker beside those it needs."""
    database = EmbeddedPostgres(home)
    target = database.start()
    try:
        secret, password, master = secrets.token_urlsafe(32), secrets.token_urlsafe(12), new_master_key()
        _provision(target, secret, password, master)
        port = _free_port()
        process = _serve(target, port, master, core=core, more=more or {})
        try:
            _wait(port, process)
            yield Running(process, port, secret, password, _postmaster(home))
        finally:
            process.terminate()
            process.wait(30)
    finally:
        database.stop()


def _provision(target: ConnectionTarget, secret: str, password: str, master: str) -> None:
    bootstrap(target)
    migrate(target)
    values = {"TEGATA_BENCH_SECRET": secret, "TEGATA_BENCH_PASSWORD": password}
    desired = resolve(parse_documents(_TENANT.read_bytes(), _TENANT.name), standard_references(values))

    async def provision() -> None:
        async with operator_storage(target.entering_as(MAINTENANCE)) as storage:
            await apply(Operator(storage, Envelope.from_text(master)), desired)

    asyncio.run(provision())


def _serve(
    target: ConnectionTarget, port: int, master: str, *, core: int, more: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    application = target.entering_as(APPLICATION)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TEGATA_")},
        "TEGATA_BASE_URL": f"http://127.0.0.1:{port}",
        "TEGATA_ALLOW_INSECURE_BASE_URL": "true",
        "TEGATA_ALLOW_LOOPBACK_HTTP": "true",
        "TEGATA_PORT": str(port),
        "TEGATA_MASTER_KEY": master,
        "TEGATA_DATABASE_URL": f"postgresql://{application.user}@/{application.database}?host={application.host}",
        # The sign-in workload is to measure the password hash, not the pauses.
        "TEGATA_THROTTLE_ACCOUNT_FAILURES": "1000",
        "TEGATA_THROTTLE_ADDRESS_FAILURES": "1000000",
        "TEGATA_LOG_LEVEL": "warning",
        **more,
    }
    process = subprocess.Popen([str(Path(sys.executable).with_name("tegata")), "serve"], env=environment)
    os.sched_setaffinity(process.pid, {core})  # before it has any thread of its own
    return process


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server did not listen within 60 s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _postmaster(home: Path) -> int:
    found = next(home.rglob("postmaster.pid"))
    return int(found.read_text().splitlines()[0])


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except OSError:
        return 0


def _cpu_seconds(pid: int, *, waited: bool = False) -> float:
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    ticks = sum(int(value) for value in fields[11 : 15 if waited else 13])
    return ticks / os.sysconf("SC_CLK_TCK")
