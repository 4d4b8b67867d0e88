"""The README's command: a process of its own, started from the example's file, stopped by a signal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from tegata_credentials.testing import Laboratory

from .conftest import EXAMPLE, PASSWORD

PATIENCE_SECONDS = 120


class Application:
    """The running process, and what it says."""

    def __init__(self, file: Path, log: Path) -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", "passwordless_app:create_app_from_environment"]
        self.log = log
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, "--env-file", str(file), "--port", "0"],
                cwd=EXAMPLE,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def wait_for_address(self) -> str:
        """Return where it listens, which it says when it does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := re.search(r"running on (\S+) .*\n", self.log.read_text())) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the application does not listen"
            time.sleep(0.05)
        return found[1]

    def stop(self) -> tuple[int, list[dict[str, str]]]:
        """Stop it as a container is stopped; what it has logged as JSON."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_SECONDS)
        return status, [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture
def serve(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> Iterator[Callable[..., Application]]:
    """Start the application with an environment file made of an example, in which some lines are other ones."""
    started: list[Application] = []

    def start(example: str, **lines: str) -> Application:
        written = (EXAMPLE / example).read_text().splitlines()
        kept = [line for line in written if line.partition("=")[0] not in lines]
        file = tmp_path / "env"
        file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in lines.items())]))
        started.append(Application(file, tmp_path / "said"))
        return started[-1]

    yield start
    for application in started:
        application.process.kill()
        application.process.wait()


@contextmanager
def open_client(application: Application) -> Iterator[httpx2.Client]:
    """Give a client that has logged in to the database once: the health address gives that five seconds."""
    url = application.wait_for_address()
    with httpx2.Client(base_url=url, timeout=PATIENCE_SECONDS, trust_env=False, verify=False) as client:
        assert client.get("/login").json()["role"] == "appuser"
        yield client


def test_the_readmes_command_serves_with_a_password(serve, password_url):
    url = f"postgresql+asyncpg://appuser:{quote(PASSWORD, safe='')}@{password_url}"
    application = serve(".env.local.example", DATABASE_URL=url)
    with open_client(application) as client:
        assert client.get("/health/db").json()["status"] == "healthy"
        assert client.post("/notes", json={"text": "no password"}).status_code == 201
        assert "no password" in client.get("/notes").text
    status, lines = application.stop()
    assert status in (0, -signal.SIGTERM)
    assert lines[0]["message"] == "database connection: password authentication"
    assert PASSWORD not in json.dumps(lines)


def test_the_production_file_serves_without_one(serve, judged, laboratory: Laboratory):
    laboratory.reset()
    application = serve(".env.production.example", DATABASE_URL=judged[0], **laboratory.app_service())
    with open_client(application) as client:
        answer = client.get("/health/db").json()
    assert answer == {"status": "healthy", "database": "connected", "auth_method": "managed_identity"}
    _, lines = application.stop()
    found = {line["message"]: line for line in lines}
    assert found["managed identity token acquired"]["username"] == "appuser"
    assert laboratory.leaks_in(json.dumps(lines)) == []


def test_settings_that_cannot_work_end_the_start_and_say_why_without_the_value(serve):
    application = serve(".env.production.example", DATABASE_URL="postgresql://appuser:geheim@db.example/app")
    assert application.process.wait(PATIENCE_SECONDS) != 0
    said = application.log.read_text()
    assert "DATABASE_URL holds a password, but the method is managed_identity" in said
    assert "geheim" not in said
