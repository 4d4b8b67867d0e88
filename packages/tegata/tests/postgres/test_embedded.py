"""The embedded server: finds its data again, survives rough ends, and lets nobody else in."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tegata.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError, wheel_binaries
from tegata.postgres.postmaster import is_alive, read_pid
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import fastest_directory

OLD = Path("/usr/lib/postgresql/15/bin")


PARAMETERS = [
    pytest.param(None, id="PostgreSQL 18 of the wheel"),
    pytest.param(
        OLD, id="PostgreSQL 15", marks=pytest.mark.skipif(not OLD.exists(), reason="PostgreSQL 15 is not installed")
    ),
]


@pytest.fixture
def state() -> Iterator[Path]:
    # pytest's own temporary paths may be too long for a socket, and that case has its own test.
    with tempfile.TemporaryDirectory(prefix="tg-", dir=fastest_directory()) as directory:
        yield Path(directory, "postgres")


@pytest.fixture(scope="module", params=PARAMETERS)
def made(request: pytest.FixtureRequest) -> Iterator[tuple[Path | None, Path]]:
    """Programs, and a cluster made by them at its first start: making one takes longer than everything else."""
    with tempfile.TemporaryDirectory(prefix="tg-", dir=fastest_directory()) as directory:
        with EmbeddedPostgres(Path(directory, "postgres"), bindir=request.param, durable=False):
            pass
        yield request.param, Path(directory, "postgres", "data")


@pytest.fixture
def server(made: tuple[Path | None, Path], state: Path) -> Callable[[], EmbeddedPostgres]:
    """Servers on one state directory, in which there has been one before."""
    bindir, data = made
    state.mkdir()
    subprocess.run(["cp", "-a", str(data), str(state / "data")], check=True)
    return lambda: EmbeddedPostgres(state, bindir=bindir, durable=False)


def ask(target: ConnectionTarget, query: str) -> object:
    with psycopg.connect(target.psycopg_conninfo()) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def test_started_twice_it_finds_its_data_again(server: Callable[[], EmbeddedPostgres]) -> None:
    with server() as target:
        ask(target, "create table kept as select 42 as value")
    with server() as target:
        assert ask(target, "select value from kept") == 42


def test_it_listens_on_a_private_socket_only(server: Callable[[], EmbeddedPostgres]) -> None:
    with server() as target:
        assert ask(target, "show listen_addresses") == ""
        assert stat.S_IMODE(os.stat(target.host).st_mode) == 0o700


def test_a_second_server_on_the_same_directory_is_refused_in_words(server: Callable[[], EmbeddedPostgres]) -> None:
    with server(), pytest.raises(EmbeddedPostgresError, match="already runs the database"):
        server().start()


def test_a_server_left_behind_is_ended_and_its_data_kept(server: Callable[[], EmbeddedPostgres], state: Path) -> None:
    first = server()
    starter = threading.Thread(target=first.start)  # from another thread: no signal when the parent dies
    starter.start()
    starter.join()
    old = read_pid(state / "data")
    assert old is not None
    assert is_alive(old)
    first._lock.close()  # type: ignore[union-attr]  # what the kernel does when the parent is killed
    with server() as target:
        assert read_pid(state / "data") != old
        assert ask(target, "select 1") == 1
    assert not is_alive(old)
    assert first._process is not None
    first._process.wait(10)


CHILD = """
import os, sys, time
from pathlib import Path
from tegata.postgres.embedded import EmbeddedPostgres
EmbeddedPostgres(sys.argv[1], bindir=Path(sys.argv[2]) if sys.argv[2] else None, durable=False).start()
print("started", flush=True)
time.sleep(600)
"""


def test_after_a_killed_parent_the_next_start_works(
    server: Callable[[], EmbeddedPostgres], state: Path, request: pytest.FixtureRequest
) -> None:
    bindir = str(server()._bindir or "")
    with subprocess.Popen([sys.executable, "-c", CHILD, str(state), bindir], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        left = read_pid(state / "data")
        assert left is not None
        parent.send_signal(signal.SIGKILL)
    with server() as target:
        assert ask(target, "select 1") == 1
    assert not is_alive(left)


def test_a_killed_server_recovers_what_was_committed(made: tuple[Path | None, Path], state: Path) -> None:
    state.mkdir()
    subprocess.run(["cp", "-a", str(made[1]), str(state / "data")], check=True)
    broken = EmbeddedPostgres(state, bindir=made[0])
    target = broken.start()
    ask(target, "create table kept as select 42 as value")
    pid = read_pid(state / "data")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    broken.stop()
    with EmbeddedPostgres(state, bindir=made[0]) as target:
        assert ask(target, "select value from kept") == 42


def test_a_lock_file_that_names_a_foreign_process_does_not_block(
    server: Callable[[], EmbeddedPostgres], state: Path
) -> None:
    with server() as target:
        pass
    for file in (state / "data" / "postmaster.pid", Path(target.host, ".s.PGSQL.5432.lock")):
        # Process ids start again from 1 in a new container: this one is alive and no PostgreSQL.
        file.write_text(f"{os.getppid()}\n{state / 'data'}\n{int(time.time())}\n5432\n{target.host}\n\n    12345 0\n")
    with server() as target:
        assert ask(target, "select 1") == 1
    assert is_alive(os.getppid())


def test_an_interrupted_first_start_leaves_nothing_half_made(state: Path) -> None:
    (state / "data.new").mkdir(parents=True)
    (state / "data.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(state, durable=False) as target:
        assert ask(target, "select 1") == 1


def test_a_long_path_gets_a_short_private_socket_directory(made: tuple[Path | None, Path], state: Path) -> None:
    deep = state / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    subprocess.run(["cp", "-a", str(made[1]), str(deep / "data")], check=True)
    with EmbeddedPostgres(deep, bindir=made[0], durable=False) as target:
        assert len(target.host) < 80
        assert stat.S_IMODE(os.stat(target.host).st_mode) == 0o700
        assert ask(target, "select 1") == 1
    os.rmdir(target.host)


def test_data_of_another_version_is_refused_in_words(state: Path) -> None:
    (state / "data").mkdir(parents=True)
    (state / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedPostgresError, match="belongs to PostgreSQL 12"):
        EmbeddedPostgres(state).start()


def test_a_directory_without_programs_is_refused_in_words(state: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no working PostgreSQL"):
        EmbeddedPostgres(state, bindir=Path("/nonexistent")).start()


def test_a_discarded_cluster_is_gone_with_the_server_left_behind(
    server: Callable[[], EmbeddedPostgres], state: Path
) -> None:
    first = server()
    starter = threading.Thread(target=first.start)
    starter.start()
    starter.join()
    old = read_pid(state / "data")
    assert old is not None
    with pytest.raises(EmbeddedPostgresError, match="already runs"):
        server().discard()
    first._lock.close()  # type: ignore[union-attr]  # what the kernel does when the parent is killed
    server().discard()
    assert not state.exists()
    assert not is_alive(old)
    server().discard()
    assert first._process is not None
    first._process.wait(10)


def test_programs_below_a_directory_that_only_its_owner_may_enter_can_be_run(state: Path) -> None:
    # A checkout in /root or in a mktemp -d, started as root: PostgreSQL runs as somebody else, who must reach both.
    programs = wheel_binaries()
    package = programs.parents[1]
    closed = state.parent / "closed"
    closed.mkdir(mode=0o700)
    for folder in package.parent.glob(f"{package.name}*"):  # the package and, beside it, its libraries
        # The programs of the other version are not run.
        shutil.copytree(folder, closed / folder.name, symlinks=True, ignore=shutil.ignore_patterns("pginstall"))
    with EmbeddedPostgres(
        closed / "postgres", bindir=closed / programs.relative_to(package.parent), durable=False
    ) as target:
        assert ask(target, "select 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives rights up")
def test_started_by_root_it_keeps_one_capability(server: Callable[[], EmbeddedPostgres], state: Path) -> None:
    with server():
        pid = read_pid(state / "data")
        assert pid is not None
        status = Path(f"/proc/{pid}/status").read_text()
    dac_override = f"{1 << 1:016x}"
    assert f"CapEff:\t{dac_override}" in status
    assert f"CapPrm:\t{dac_override}" in status
