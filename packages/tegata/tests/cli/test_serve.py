"""`tegata serve` as a process: workers on one socket, drained and replaced; and `tegata dev` on a given database."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tegata.cli.shared_metrics import PATIENCE_SECONDS as SHARED_METRICS_SECONDS
from tegata.crypto.envelope import new_master_key
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.warm_starts import WarmPopen
from tegata_credentials.testing import free_port

TEGATA = Path(sys.executable).parent / "tegata"
PATIENCE_SECONDS = 60


@dataclass
class Running:
    """One process of ours and the address it answers at."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def get(self, path: str) -> httpx2.Response:
        # Without `verify=False` each call reads all authorities of the world: 25 times the work of the request.
        return httpx2.get(self.address + path, timeout=PATIENCE_SECONDS, verify=False)

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output()
            if is_so():
                return
            time.sleep(0.05)
        raise AssertionError(f"not in {PATIENCE_SECONDS} s:\n{self.output()}")

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


Start = Callable[..., Running]


@contextmanager
def starting(tmp_path: Path) -> Iterator[Start]:
    """Start the command with these settings; everything is stopped at the end."""
    started: list[Running] = []

    def run(*words: str, **settings: str) -> Running:
        port = free_port()
        log = tmp_path / f"log-{len(started)}"
        environment = {"PATH": os.environ["PATH"], "TEGATA_PORT": str(port), "TEGATA_HOME": str(tmp_path / "home")}
        with log.open("wb") as sink:
            process = WarmPopen(
                [str(TEGATA), *words], env=environment | settings, stdout=sink, stderr=subprocess.STDOUT
            )
        started.append(Running(process, f"http://127.0.0.1:{port}", log))
        return started[-1]

    try:
        yield run
    finally:
        for running in started:
            running.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path) as run:
        yield run


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, production: dict[str, str]) -> Iterator[Running]:
    """Two workers for the tests that leave two; at the end they stop with the process that started them."""
    with starting(tmp_path_factory.mktemp("pair")) as run:
        server = run("serve", **production, TEGATA_WORKERS="2", TEGATA_METRICS_NETWORKS="127.0.0.1")
        server.until(lambda: server.output().count('"event": "serving"') == 2)
        yield server
        pids = workers_of(server.process.pid)
        assert (len(pids), server.stop()) == (2, 0)
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


@pytest.fixture(scope="module")
def production(migrated_database: MigratedDatabase) -> dict[str, str]:
    return {
        "TEGATA_DATABASE_URL": migrated_database.app.psycopg_conninfo(),
        "TEGATA_MASTER_KEY": new_master_key(),
        "TEGATA_BASE_URL": "https://id.example.com",
    }


def test_one_process_serves_and_ends_well(start: Start, production: dict[str, str]) -> None:
    server = start("serve", **production)
    server.until(server.is_ready)
    assert server.get("/nobody/authorize").status_code == 404
    assert server.stop() == 0
    assert '"event": "stopped"' in server.output()


def test_readyz_says_no_while_the_server_drains(start: Start, production: dict[str, str]) -> None:
    server = start("serve", **production, TEGATA_DRAIN_SECONDS="120")
    server.until(server.is_ready)
    server.process.send_signal(signal.SIGTERM)
    server.until(lambda: server.get("/readyz").status_code == 503)
    assert server.get("/livez").status_code == 200
    assert server.stop() == 0  # asked twice, it does not wait any longer


def test_whichever_worker_is_asked_for_metrics_speaks_for_all(pair: Running) -> None:
    asked, late = 0, list[str]()
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while asked < 5:
        assert time.monotonic() < deadline, f"{asked} answers in time; late ones: {late}"
        began = time.monotonic()
        answer = pair.get("/metrics")
        assert answer.status_code == 200
        # One that has not spoken in time is left out: only on a machine that is very busy.
        if time.monotonic() - began < SHARED_METRICS_SECONDS:
            asked += 1
            for worker in ("0", "1"):
                assert f'tegata_database_pool_open{{pool="writer",worker="{worker}"}}' in answer.text
        else:
            spoke = re.findall(r'^tegata_database_pool_open\{pool="writer",worker="(\d+)"\}', answer.text, re.MULTILINE)
            late.append(f"{time.monotonic() - began:.1f} s, of workers {spoke}")


def test_a_worker_that_dies_is_replaced_while_the_other_serves(pair: Running) -> None:
    killed = workers_of(pair.process.pid)[0]
    os.kill(killed, signal.SIGKILL)
    pair.until(lambda: pair.output().count('"event": "serving"') == 3)
    pair.until(pair.is_ready)
    assert len(workers_of(pair.process.pid)) == 2


def test_workers_end_when_their_parent_is_killed(start: Start, production: dict[str, str]) -> None:
    server = start("serve", **production, TEGATA_WORKERS="2")
    server.until(lambda: server.output().count('"event": "serving"') == 2)
    pids = workers_of(server.process.pid)
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_database_that_is_away_ends_the_start_with_a_sentence(
    start: Start, production: dict[str, str], workers: str
) -> None:
    away = {"TEGATA_DATABASE_URL": "postgresql://tegata_app@127.0.0.1:1/tegata", "TEGATA_WORKERS": workers}
    server = start("serve", **(production | away))
    assert server.process.wait(PATIENCE_SECONDS) == 3
    assert "tegata: the database cannot be used" in server.output()
    assert "Traceback" not in server.output()


def test_a_database_without_the_schema_is_told(
    start: Start, production: dict[str, str], clusters: dict[str, Cluster]
) -> None:
    with clusters["18"].empty_database() as empty:
        target = empty.psycopg_conninfo()
        server = start("serve", **(production | {"TEGATA_DATABASE_URL": target}))
        assert server.process.wait(PATIENCE_SECONDS) == 3
    assert "migrate" in server.output()


def test_dev_on_a_given_database(start: Start, clusters: dict[str, Cluster], tmp_path: Path) -> None:
    """It is set up, seeded, found by the other commands, and not reset."""
    with clusters["18"].empty_database() as empty:
        settings = {"TEGATA_DATABASE_URL": empty.psycopg_conninfo()}
        server = start("dev", **settings)
        server.until(server.is_ready)
        server.until((tmp_path / "home" / "dev.json").exists)
        listed = start("keys", "list", "-t", "demo", **settings)
        assert listed.process.wait(PATIENCE_SECONDS) == 0
        assert "active" in listed.output()
        examined = start("doctor", **settings)
        assert examined.process.wait(PATIENCE_SECONDS) == 0, examined.output()
        assert server.stop() == 0
        assert not (tmp_path / "home" / "postgres").exists()
        reset = start("dev", "--reset", **settings)
        assert reset.process.wait(PATIENCE_SECONDS) == 2
        assert "does not touch" in reset.output()
        (tmp_path / "home" / "master.key").unlink()
        other_key = start("dev", **settings)
        assert other_key.process.wait(PATIENCE_SECONDS) == 2
        assert "TEGATA_MASTER_KEY does not fit" in other_key.output()


def test_a_port_in_use_is_told_with_the_way_out(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start("dev", TEGATA_PORT=str(taken.getsockname()[1]))
        assert server.process.wait(PATIENCE_SECONDS) == 3
    assert "TEGATA_PORT" in server.output()
    assert "Traceback" not in server.output()


def test_dev_refuses_to_be_reached_by_others(start: Start) -> None:
    server = start("dev", TEGATA_HOST="0.0.0.0")
    assert server.process.wait(PATIENCE_SECONDS) == 2
    assert "loopback" in server.output()


def workers_of(pid: int) -> list[int]:
    """The processes whose command line says that a pool of ours started them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if stat.rpartition(")")[2].split()[1] == str(pid) and b"spawn_main" in words:
                found.append(int(entry.name))
    return found
