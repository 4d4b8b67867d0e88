"""The search of all outputs at the end of a run: whatever way secrets get out, the run fails and repeats none."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tegata_credentials.testing.outputs import VARIABLE

CONFTEST = Path(__file__).parents[3] / "conftest.py"
# Each test passes, and lets a secret of its own out; but for the last one.
TESTS = """
import logging, os, sys
from pathlib import Path
import pytest
from tegata_credentials.testing.outputs import keep, remember

SECRETS = Path("secrets").read_text().split()

@pytest.fixture(autouse=True)
def remembered(request):
    for secret in SECRETS:
        remember(secret)

def test_printed():
    print(SECRETS[0])

def test_on_standard_error():
    sys.stderr.write(SECRETS[1])

def test_logged():
    logging.getLogger("x").warning("login with %s", SECRETS[2])

def test_in_part():
    print(SECRETS[3][4:24])

def test_in_the_log_of_a_program(tmp_path):
    path = tmp_path / "log"
    path.write_text(SECRETS[4])
    keep(path)

def test_nowhere():
    assert SECRETS[5]
"""


def run(directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, directory / "conftest.py")
    (directory / "test_it.py").write_text(TESTS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != VARIABLE}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more, "test_it.py"],
        cwd=directory,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with a worker"])
def test_secrets_that_passing_tests_have_let_out_fail_the_run(tmp_path: Path, workers: tuple[str, ...]):
    generated = [secrets.token_urlsafe(32) for _ in range(6)]
    (tmp_path / "secrets").write_text("\n".join(generated))
    done = run(tmp_path, *workers)
    assert "6 passed" in done.stdout
    assert "6 secrets were generated, 5 of them found" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert not [secret for secret in generated if secret[4:24] in done.stdout + done.stderr]


def test_a_run_that_lets_nothing_out_passes(tmp_path: Path):
    (tmp_path / "secrets").write_text("\n".join(secrets.token_urlsafe(32) for _ in range(6)))
    done = run(tmp_path, "-k", "nowhere")
    assert "6 secrets were generated, 0 of them found" in done.stdout
    assert done.returncode == pytest.ExitCode.OK
