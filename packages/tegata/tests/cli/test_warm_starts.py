"""A command that is forked out of a process which has imported it is to the test what a started one would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tegata.testing.warm_starts import WarmPopen, run_to_its_end

TEGATA = Path(sys.executable).parent / "tegata"
EMPTY = {"PATH": os.defpath}


def started(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TEGATA, *words], env=EMPTY | variables, capture_output=True, text=True, timeout=180, check=False
    )


def warm(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_to_its_end([TEGATA, *words], env=EMPTY | variables, timeout=180)


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        pytest.param(["version"], {}, id="done"),
        pytest.param(["serve"], {"TEGATA_BASE_URL": "http://id.example"}, id="refused for its settings"),
        pytest.param(["keys", "list"], {}, id="used wrongly"),
        pytest.param(["migrate", "--sql"], {}, id="much to say"),
    ],
)
def test_it_says_the_same_and_ends_the_same(words: list[str], variables: dict[str, str]) -> None:
    forked, real = warm(*words, **variables), started(*words, **variables)
    assert (forked.returncode, forked.stdout, forked.stderr) == (real.returncode, real.stdout, real.stderr)


def test_what_is_on_its_standard_input_reaches_it() -> None:
    done = run_to_its_end([TEGATA, "apply", "-f", "-"], input="kind: Nothing\n", env=EMPTY, timeout=180)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_it_has_its_own_variables_directory_and_session_and_is_a_child(tmp_path: Path) -> None:
    own: dict[str, Any] = {"env": {"ONLY": "this"}, "cwd": tmp_path, "start_new_session": True}
    # It waits for its standard input.
    with WarmPopen([TEGATA, "apply", "-f", "-"], stdin=subprocess.PIPE, **own) as process:
        proc = Path("/proc", str(process.pid))
        parent = int((proc / "stat").read_text().rpartition(")")[2].split()[1])
        assert (parent, os.getsid(process.pid)) == (os.getpid(), process.pid)
        assert (proc / "cwd").resolve() == tmp_path
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("start", [WarmPopen, subprocess.Popen])
def test_a_signal_ends_it_as_it_ends_others(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    with start([TEGATA, "apply", "-f", "-"], env=EMPTY, stdin=subprocess.PIPE) as process:
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM


def test_variables_that_python_reads_when_it_starts_are_heeded() -> None:
    assert warm("version", PYTHONHOME="/nowhere").returncode != 0
