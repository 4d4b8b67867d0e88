"""The Dockerfile's own commands, outside a container: what it copies starts, is healthy, and needs what is pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx2
import pytest
from chain import free_port

from containers.dockerfile import Dockerfile

HERE = Path(__file__).parents[1]
FILE = Dockerfile.read(HERE / "Dockerfile")
IMAGE = FILE.image
COGNITO = {"COGNITO_USER_POOL_ID": "eu-central-1_AbCdEfGhI", "COGNITO_APP_CLIENT_ID": "web"}
ARN = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"


def command(words: list[str], port: int) -> list[str]:
    """Return the words of a command, for this machine: this Python, its loopback, a free port, and time enough."""
    program = {"uvicorn": [sys.executable, "-m", "uvicorn"], "python": [sys.executable]}[words[0]]
    ours = {"8000": str(port), "0.0.0.0": "127.0.0.1", "timeout=3": "timeout=60"}
    return program + [re.sub("|".join(map(re.escape, ours)), lambda found: ours[found[0]], word) for word in words[1:]]


def test_it_runs_as_an_ordinary_user_from_a_pinned_line_of_python():
    names = [each.word for each in IMAGE.instructions]
    assert names.index("USER") < names.index("CMD")
    assert IMAGE.last("USER").text == "10001"
    assert "--uid 10001 " in IMAGE.last("RUN").text
    assert re.fullmatch(r"python:3\.\d+-slim", FILE.arguments["PYTHON_IMAGE"])


def test_what_it_copies_is_not_kept_out():
    let_in = {line[1:] for line in (HERE / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word.strip("*") for each in IMAGE.all("COPY") for word in each.words[:-1]}
    assert copied == {"app", "requirements.txt", "wheels"} == let_in


def test_its_command_serves_what_it_copies_and_finds_itself_healthy(tmp_path: Path):
    shutil.copytree(HERE / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COGNITO", "TEGATA"))}
    environment = {**inherited, **IMAGE.pairs("ENV"), **COGNITO, "ALB_ARNS": ARN, "TRUSTED_PEERS": "127.0.0.0/8"}
    healthy = command(IMAGE.last("HEALTHCHECK").words, port)
    asked = subprocess.run(healthy, env=environment, capture_output=True, check=False)
    assert asked.returncode == 1
    with subprocess.Popen(
        command(IMAGE.last("CMD").words, port), cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            assert any("running on" in line for line in process.stderr)
            assert subprocess.run(healthy, env=environment, capture_output=True, check=False).returncode == 0
            answer = httpx2.get(f"http://127.0.0.1:{port}/static/page.js", trust_env=False, timeout=60)
            assert (answer.status_code, answer.headers.get("server")) == (200, None)
            assert httpx2.get(f"http://127.0.0.1:{port}/me", trust_env=False, timeout=60).status_code == 401
            large = {f"x-{number}": "a" * 30_000 for number in range(8)}
            with pytest.raises(httpx2.HTTPError):
                httpx2.get(
                    f"http://127.0.0.1:{port}/health", headers=large, trust_env=False, timeout=60
                ).raise_for_status()
        finally:
            process.terminate()
            said = process.stderr.read()
    # The answer does not tell why; the log does, once.
    assert said.count("request refused: no_token") == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name == "__pycache__") == []


def test_the_versions_it_needs_are_those_it_is_tested_with():
    for line in (HERE / "requirements.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, wanted = line.partition("==")
            assert version(name.partition("[")[0]) == wanted
