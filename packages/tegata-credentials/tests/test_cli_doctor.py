"""The command as an operator runs it: a process of its own, an exit status, nothing but the report."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tegata.testing.warm_starts import run_to_its_end
from tegata_credentials.testing import Laboratory

Run = Callable[..., Any]
INSTALLED = [Path(sys.prefix, "bin", "tegata-credentials")]
# With a Python of its own, which takes every warning for an error.
ANEW = [sys.executable, "-W", "error", "-m", "tegata_credentials.cli"]


@pytest.fixture
def run(clean_environment: pytest.MonkeyPatch, lab: Laboratory, database: Any) -> Run:
    """Run the command in a container of App Service; neither stream holds a token."""

    def command(*arguments: str, start: Sequence[str | Path] = INSTALLED, **change: str) -> Any:
        environ = {
            **os.environ,
            **lab.app_service(),
            "USE_MANAGED_IDENTITY": "true",
            "DATABASE_URL": f"{database.url('app')}?sslrootcert={database.root}",
            **change,
        }
        finished = run_to_its_end([*start, *arguments], env=environ, timeout=300)
        assert lab.leaks_in(finished.stdout + finished.stderr) == []
        return finished

    return command


def test_nothing_found_is_status_0(run):
    finished = run("doctor", start=ANEW)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.endswith("nothing found\n")


def test_something_found_is_status_1_and_json_names_it(run, lab):
    lab.go_down()
    try:
        finished = run("doctor", "--json", "--clock-url", "http://127.0.0.1:1/", start=ANEW)
    finally:
        lab.come_back()
    assert (finished.returncode, finished.stderr) == (1, "")
    report = json.loads(finished.stdout)
    assert report["healthy"] is False
    found = [check["reason"] for check in report["checks"] if check["result"] == "failed"]
    assert found == ["identity_endpoint_silent"]


def test_without_any_setting_it_says_what_to_set(run):
    finished = run("doctor", DATABASE_URL="")
    assert finished.returncode == 1
    assert "DATABASE_URL is not set" in finished.stdout


@pytest.mark.parametrize(
    "arguments", [(), ("cure",), ("doctor", "--jso"), ("grants", "--for", "gcp", "--role", "r", "--database", "d")]
)
def test_wrong_usage_is_status_2(run, arguments):
    finished = run(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "usage: tegata-credentials" in finished.stderr


def test_help_tells_the_exit_status(run):
    finished = run("--help")
    assert finished.returncode == 0
    assert "1 something was found" in " ".join(finished.stdout.split())
