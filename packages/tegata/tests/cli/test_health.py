"""`tegata health`: what a container's health check is told of a server that runs, drains, hangs, or has no database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tegata.cli.health import HOST, PATH, PORT, Unhealthy, address, ask, run
from tegata.crypto.envelope import new_master_key
from tegata.settings import Settings
from tegata.testing.clusters import Cluster, MigratedDatabase
from tegata.testing.warm_starts import WarmPopen
from tegata_credentials.testing import free_port

ENTRY = [sys.executable, "-m", "tegata.cli.entry"]
TEGATA = Path(sys.executable).parent / "tegata"
PATIENCE_SECONDS = 60
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    """A port that nobody listens at, and nobody can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def health(port: int | str, *words: str, host: str = "0.0.0.0") -> subprocess.CompletedProcess[str]:
    """Ask as a container does: the server's own environment, and a proxy that is none of its business."""
    variables = {
        "PATH": os.environ["PATH"],
        "TEGATA_HOST": host,
        "TEGATA_PORT": str(port),
        "http_proxy": "http://127.0.0.1:1",
    }
    command = [*ENTRY, "health", *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=90, check=False)


AT_LEISURE = ("--timeout", "60")


@contextmanager
def serving(database: MigratedDatabase, log: Path, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server as a process, and its port, once it says that it serves."""
    port = free_port()
    settings = {
        "TEGATA_DATABASE_URL": database.app.psycopg_conninfo(),
        "TEGATA_MASTER_KEY": new_master_key(),
        "TEGATA_BASE_URL": "https://id.example.com",
        "TEGATA_HOST": "127.0.0.1",
        "TEGATA_PORT": str(port),
    }
    with log.open("wb") as sink:
        process = WarmPopen(
            [str(TEGATA), "serve"], env={"PATH": os.environ["PATH"]} | settings | more, stdout=sink, stderr=sink
        )
    try:
        until(lambda: '"event": "serving"' in log.read_text(), process, log)
        yield process, port
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def until(is_so: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def database(clusters: dict[str, Cluster]) -> Iterator[MigratedDatabase]:
    """A database that may be shut."""
    with clusters["18"].migrated_database() as made:
        yield made


IS_DOWN = (1, "", f"{PATH} answered 503\n")


def told(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def shut(database: MigratedDatabase, *, shut: bool = True) -> int:
    """Let nobody in, and throw out who is; return how many that were."""
    name = sql.Identifier(database.admin.database)
    target = database.admin.in_database("postgres")
    with psycopg.connect(target.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("alter database {} allow_connections {}").format(name, sql.Literal(not shut)))
        if not shut:
            return 0
        thrown = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        return connection.execute(thrown, [database.admin.database]).rowcount


def test_a_server_is_well_while_its_database_is(database: MigratedDatabase, tmp_path: Path) -> None:
    with serving(database, tmp_path / "log") as (process, port):
        # A server that is slow for once is not well: who asks is patient here, and not the command.
        is_up = (0, f"{PATH} answered 200\n", "")
        until(lambda: told(health(port)) == is_up, process, tmp_path / "log")
        assert health(port, host="127.0.0.2").returncode == 1
        try:
            # A session that began at this moment may be seen a moment later.
            until(lambda: shut(database) == 0 and told(health(port)) == IS_DOWN, process, tmp_path / "log")
            # Killing the process would not mend the database.
            assert health(port, "--path", "/livez", *AT_LEISURE).returncode == 0
            assert health(port, "--path", "/readyz", *AT_LEISURE).returncode == 1
        finally:
            shut(database, shut=False)
        until(lambda: told(health(port)) == is_up, process, tmp_path / "log")


def test_a_server_that_drains_is_not_well_but_lives(database: MigratedDatabase, tmp_path: Path) -> None:
    with serving(database, tmp_path / "log", TEGATA_DRAIN_SECONDS="120") as (process, port):
        asked = {"TEGATA_PORT": str(port)}
        assert run(timeout=60, environment=asked) == 0
        process.send_signal(signal.SIGTERM)
        until(lambda: run(timeout=60, environment=asked) == 1, process, tmp_path / "log")
        assert run("/livez", timeout=60, environment=asked) == 0
        process.send_signal(signal.SIGTERM)  # asked twice, it does not wait any longer
        assert process.wait(PATIENCE_SECONDS) == 0
        assert run("/livez", timeout=60, environment=asked) == 1


def test_nobody_there_is_unhealthy(nobodys_port: int) -> None:
    gone = health(nobodys_port)
    assert gone.returncode == 1
    assert gone.stdout == ""
    assert gone.stderr.startswith("tegata: /actuator/health of 127.0.0.1 port")


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "８０８０"])
def test_a_port_that_is_none_is_unhealthy_rather_than_a_third_status(port: str) -> None:
    """Docker reserves status 2."""
    assert run(environment={"TEGATA_PORT": port}) == 1


@contextmanager
def answering(parts: list[bytes], pause: threading.Event) -> Iterator[int]:
    """A server that sends these parts; before the last one it waits until it may go on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            # Who has lost patience hangs up.
            with connection, suppress(OSError):
                connection.recv(4096)
                for part in parts[:-1]:
                    connection.sendall(part)
                pause.wait(PATIENCE_SECONDS)
                connection.sendall(parts[-1])

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            pause.set()
            thread.join(PATIENCE_SECONDS)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nx: "], ids=["nothing-comes", "it-stops-in-its-headers"])
def test_a_server_that_hangs_is_unhealthy_when_the_time_is_over(first: bytes) -> None:
    pause = threading.Event()
    with (
        answering([first, b"y\r\n\r\n"], pause) as port,
        pytest.raises(Unhealthy, match=r"did not answer within 0\.2 s"),
    ):
        ask("127.0.0.1", port, PATH, 0.2)


def test_a_server_that_drips_cannot_stretch_the_time() -> None:
    """Each byte comes in time, the answer does not."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            # Who has lost patience hangs up.
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not over.wait(0.05):
                    connection.sendall(b"y")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            done = health(listener.getsockname()[1], "--timeout", "0.5")
            assert (done.returncode, done.stdout) == (1, "")
            assert "did not answer within 0.5 s" in done.stderr
        finally:
            over.set()
            thread.join(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"HTTP/1.1 204 No Content\r\n\r\n", 0), (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", 1), (b"SSH-2.0-x\r\n", 1)],
    ids=["204", "a-redirect", "no-http"],
)
def test_only_a_good_answer_is_one(answer: bytes, status: int) -> None:
    over = threading.Event()
    over.set()
    with answering([answer], over) as port:
        assert run(timeout=60, environment={"TEGATA_PORT": str(port)}) == status


def test_a_path_that_is_none_is_unhealthy(nobodys_port: int) -> None:
    assert run(path="/livez\r\nx: y", environment={"TEGATA_PORT": str(nobodys_port)}) == 1


def test_where_it_asks_is_where_the_server_listens_by_default() -> None:
    fields = Settings.model_fields
    assert (HOST, PORT) == (fields["host"].default, fields["port"].default) == address({})
    assert address({"TEGATA_HOST": "::", "TEGATA_PORT": "80"}) == ("::1", 80)
    assert address({"TEGATA_HOST": "10.0.0.5"}) == ("10.0.0.5", PORT)


def test_the_script_of_the_package_asks_without_loading_the_command_line(nobodys_port: int) -> None:
    """A container asks every few seconds: this costs a seventh of what loading all commands does."""
    script = tomllib.loads(PROJECT.read_text())["project"]["scripts"]["tegata"]
    assert script == "tegata.cli.entry:main"
    loaded = (
        "import sys\nsys.argv[1:] = ['health']\nfrom tegata.cli.entry import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sorted(m for m in sys.modules if m.partition('.')[0] in "
        "('tegata', 'typer', 'pydantic', 'asyncio', 'tegata_credentials')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded],
        env={"TEGATA_PORT": str(nobodys_port)},
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert done.stdout.split() == ["tegata", "tegata.cli", "tegata.cli.entry", "tegata.cli.health"]


def test_as_the_first_process_a_command_ends_on_sigterm() -> None:
    """Linux drops a signal that the first process has not asked for; a stand-in for its number shows what is asked."""
    code = (
        "import os, signal, sys\nos.getpid = lambda: 1\nsys.argv[1:] = ['version']\n"
        "from tegata.cli import entry\nimport tegata.cli.main as command_line\n"
        "command_line.main = lambda: signal.raise_signal(signal.SIGTERM)\nentry.main()"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=90, check=False).returncode == 143
