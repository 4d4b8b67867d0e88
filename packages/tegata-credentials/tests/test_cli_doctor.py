"""The command as an operator runs it: a process of its own, an exit status, nothing but the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tegata_credentials.testing import Laboratory

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(clean_environment: pytest.MonkeyPatch, lab: Laboratory, database: Any) -> Run:
    """Run the command in a container of App Service; neither stream holds a token."""

    def command(*arguments: str, **change: str) -> subprocess.CompletedProcess[str]:
        environ = {
            **os.environ,
            **lab.app_service(),
            "USE_MANAGED_IDENTITY": "true",
            "DATABASE_URL": f"{database.url('app')}?sslrootcert={database.root}",
            **change,
        }
        finished = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tegata_credentials.cli", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert lab.leaks_in(finished.stdout + finished.stderr) == []
        return finished

    return command


def test_nothing_found_is_status_0(run):
    finished = run("doctor")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.endswith("nothing found\n")


def test_something_found_is_status_1_and_json_names_it(run, lab):
    lab.go_down()
    try:
        finished = run("doctor", "--json", "--clock-url", "http://127.0.0.1:1/")
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
