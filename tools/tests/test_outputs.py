"""A secret that any test puts out, in whatever way, fails the whole run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .inner_run import run_pytest

BEGINNING = """
import logging, secrets, subprocess, sys
import pytest
from tegata_credentials.testing.outputs import keep, remember

def new():
    value = secrets.token_urlsafe(32)
    remember(value)
    return value
"""
QUIET = BEGINNING + "\ndef test_quiet():\n    assert len(new()) == 43\n"
LOUD = """
def test_printed():
    print(f"postgresql://app:{new()}@db/app")

def test_logged():
    logging.getLogger("any").warning("%r", {"password": new()})

def test_cut():
    print("..." + new()[5:33] + "...")

def test_counted(record_property):
    record_property("counted", new())

def test_of_a_program(tmp_path):
    (tmp_path / "log").write_text("x" + new())
    keep(tmp_path / "log")

def test_of_a_child():
    subprocess.run([sys.executable, "-c", f"print({new()!r})"])

def test_of_a_skip():
    pytest.skip(new())
"""
FAILING = "\ndef test_failing():\n    assert new() == 'something else'\n"


def run(directory: Path, body: str, workers: int = 0) -> subprocess.CompletedProcess[str]:
    (directory / "test_one.py").write_text(body)
    return run_pytest(directory, "-q", workers=workers, without=["TEGATA_TEST_OUTPUTS"])


def test_secrets_that_were_put_out_in_any_way_fail_a_run_whose_tests_passed(tmp_path: Path) -> None:
    done = run(tmp_path, QUIET + LOUD, workers=2)
    assert "7 passed, 1 skipped" in done.stdout
    assert "8 secrets were generated, 7 of them found" in done.stdout
    assert done.returncode == 1


def test_a_run_that_puts_nothing_out_passes(tmp_path: Path) -> None:
    done = run(tmp_path, QUIET)
    assert "1 secrets were generated, 0 of them found" in done.stdout
    assert done.returncode == 0


def test_a_secret_in_a_failed_assertion_is_found(tmp_path: Path) -> None:
    done = run(tmp_path, QUIET + FAILING)
    assert "2 secrets were generated, 1 of them found" in done.stdout
