"""The README's command: a process of its own, started from the example's file, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from tegata_credentials.testing import Laboratory, free_port

from .conftest import EXAMPLE, PASSWORD

Started = tuple[str, "subprocess.Popen[str]"]


@pytest.fixture
def serve(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> Iterator[Callable[..., Started]]:
    """Start the application with an environment file made of an example, in which some lines are other ones."""
    started: list[subprocess.Popen[str]] = []

    def start(example: str, **lines: str) -> Started:
        written = (EXAMPLE / example).read_text().splitlines()
        kept = [line for line in written if line.partition("=")[0] not in lines]
        file = tmp_path / "env"
        file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in lines.items())]))
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "--factory", "passwordless_app:create_app_from_environment"]
        process = subprocess.Popen(
            [*command, "--env-file", str(file), "--port", str(port)],
            cwd=EXAMPLE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return f"http://127.0.0.1:{port}", process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ask_until_it_listens(url: str, process: subprocess.Popen[str]) -> httpx2.Response:
    deadline = time.monotonic() + 90
    while True:
        try:
            return httpx2.get(url, timeout=10, verify=False)
        except httpx2.TransportError:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the application does not listen"
            time.sleep(0.05)


def stop(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, str]]]:
    """Stop it as a container is stopped; what it has logged as JSON."""
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=90)
    return process.returncode, [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_the_readmes_command_serves_with_a_password(serve, password_url):
    url = f"postgresql+asyncpg://appuser:{quote(PASSWORD, safe='')}@{password_url}"
    base, process = serve(".env.local.example", DATABASE_URL=url)
    assert ask_until_it_listens(f"{base}/health/db", process).json()["status"] == "healthy"
    assert httpx2.post(f"{base}/notes", json={"text": "no password"}).status_code == 201
    assert "no password" in httpx2.get(f"{base}/notes").text
    status, lines = stop(process)
    assert status in (0, -signal.SIGTERM)
    assert lines[0]["message"] == "database connection: password authentication"
    assert PASSWORD not in json.dumps(lines)


def test_the_production_file_serves_without_one(serve, judged, laboratory: Laboratory):
    laboratory.reset()
    base, process = serve(".env.production.example", DATABASE_URL=judged[0], **laboratory.app_service())
    answer = ask_until_it_listens(f"{base}/health/db", process)
    assert answer.json() == {"status": "healthy", "database": "connected", "auth_method": "managed_identity"}
    _, lines = stop(process)
    found = {line["message"]: line for line in lines}
    assert found["managed identity token acquired"]["username"] == "appuser"
    assert laboratory.leaks_in(json.dumps(lines)) == []


def test_settings_that_cannot_work_end_the_start_and_say_why_without_the_value(serve):
    _, process = serve(".env.production.example", DATABASE_URL="postgresql://appuser:geheim@db.example/app")
    said, _ = process.communicate(timeout=90)
    assert process.returncode != 0
    assert "DATABASE_URL holds a password, but the method is managed_identity" in said
    assert "geheim" not in said
