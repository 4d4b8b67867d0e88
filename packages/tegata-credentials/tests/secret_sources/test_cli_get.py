"""`tegata-credentials get` as scripts and people use it: what goes where, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tegata.testing.warm_starts import WarmPopen, run_to_its_end

VALUE = "value-for-a-script-8d20"
SCRIPT = "tegata-credentials"
# With a Python of its own, which takes every warning for an error; or as it is installed, imported already.
ANEW, COMMAND = [sys.executable, "-W", "error", "-m", "tegata_credentials.cli"], [Path(sys.prefix, "bin", SCRIPT)]

Run = Callable[..., Any]


def environ_for(endpoint: Any, **change: str) -> dict[str, str]:
    aws = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}
    return {**os.environ, **aws, "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint.url, **change}


@pytest.fixture
def run(endpoint: Any) -> Run:
    def command(*arguments: str, start: Sequence[str | Path] = COMMAND, **change: str) -> Any:
        return run_to_its_end([*start, "get", *arguments], env=environ_for(endpoint, **change), timeout=300)

    return command


def test_a_value_goes_to_a_pipe_with_one_line_break(run, endpoint):
    endpoint.put("shop-prod-secret-api", VALUE)
    for name in ("shop-prod-secret-api", "awssm:shop-prod-secret-api", endpoint.secrets["shop-prod-secret-api"]["ARN"]):
        finished = run(name, start=ANEW)
        assert (finished.returncode, finished.stdout, finished.stderr) == (0, VALUE + "\n", "")
    assert run("shop-prod-secret-api", "-n").stdout == VALUE


def test_a_key_a_label_and_other_stores(run, endpoint, tmp_path: Path):
    endpoint.put("db", json.dumps({"password": VALUE, "port": 5432}), VersionStages=["AWSPENDING"])
    assert run("db#password", "--stage", "AWSPENDING").stdout == VALUE + "\n"
    assert run("db", "--key", "port", "--stage", "AWSPENDING").stdout == "5432\n"
    (tmp_path / "s").write_text('{"password": "パス"}\n')
    assert run(f"file:{tmp_path / 's'}", "--key", "password", PYTHONIOENCODING="ascii").stdout == "パス\n"
    assert run("env:API_KEY", API_KEY=VALUE).stdout == VALUE + "\n"
    assert len(endpoint.calls) == 2


def test_the_version_may_be_shown_anywhere_and_json_says_all(run, endpoint):
    endpoint.put("s", VALUE, version="v-17")
    assert run("s", "--version-only").stdout == "v-17\n"
    arn = endpoint.secrets["s"]["ARN"]
    known = {"secret": "awssm:s", "version": "v-17", "stages": ["AWSCURRENT"], "arn": arn}
    assert json.loads(run("s", "--json", "--version-only").stdout) == known
    assert json.loads(run("s", "--json").stdout) == {**known, "value": VALUE}


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("absent",), 1, "secret awssm:absent: not_found"),
        (("env:ABSENT",), 1, "ABSENT is not set"),
        (("s", "--key", "absent"), 1, "not a JSON object"),
        (("env:A-B",), 2, "write env:NAME"),
        (("s#a", "--key", "b"), 2, "leave --key out"),
        (("s", "--sho"), 2, "unrecognized"),
        ((), 2, "usage: tegata-credentials get"),
    ],
)
def test_what_cannot_be_had_is_said_on_standard_error_without_a_value(run, endpoint, arguments, status, says):
    endpoint.put("s", VALUE)
    finished = run(*arguments)
    assert (finished.returncode, finished.stdout) == (status, "")
    assert says in finished.stderr
    assert VALUE not in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_refusal_is_one_line_and_leaves_nothing_open(run):
    finished = run("absent", start=ANEW)
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert "secret awssm:absent: not_found" in line


@pytest.mark.parametrize("command", [("get", "s"), ("watch", "s")], ids=["get", "watch"])
def test_a_disk_that_is_full_is_an_error_and_not_half_a_secret(endpoint, command):
    endpoint.put("s", VALUE)
    with open("/dev/full", "w") as full:
        finished = run_to_its_end([*COMMAND, *command], env=environ_for(endpoint), stdout=full, timeout=300)
    assert finished.returncode == 1
    said = finished.stderr.splitlines()
    assert said == [f"tegata-credentials {command[0]}: standard output cannot be written: No space left on device"]


def on_a_screen(endpoint: Any, *arguments: str) -> tuple[int, str]:
    """Run the command with a terminal as its standard output, and return what the screen shows."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "get", *arguments]
    with WarmPopen[bytes](command, env=environ_for(endpoint), stdout=theirs, stderr=theirs) as ran:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # how Linux says that the other side is closed
            pass
        finally:
            os.close(ours)
        return ran.wait(60), shown.decode()


def test_a_screen_shows_a_value_only_if_asked(endpoint):
    endpoint.put("s", VALUE)
    status, shown = on_a_screen(endpoint, "s")
    assert (status, endpoint.calls) == (2, [])
    assert "give --show" in shown
    assert on_a_screen(endpoint, "s", "--show") == (0, VALUE + "\r\n")
    assert on_a_screen(endpoint, "s", "--version-only") == (0, "v-1\r\n")


def test_who_means_a_file_is_told_how_it_is_written(run, tmp_path: Path):
    """A path is a possible name in AWS, and `#` may be a part of a file's."""
    path = tmp_path / "s.json"
    path.write_text('{"password": "x"}')
    bare = run(str(path))
    assert (bare.returncode, f"; if the file is meant: file:{path}" in bare.stderr) == (1, True), bare.stderr
    relative = run(f"file:{os.path.relpath(path)}")
    assert (relative.returncode, f"if the file is meant: file:{path}" in relative.stderr) == (2, True), relative.stderr
    keyed = run(f"file:{path}#password")
    assert keyed.stderr.endswith(f"; a key of a file is named apart: file:{path} --key password\n")
    assert "meant" not in run("nothing-of-this-name").stderr
