"""`tegata-credentials watch`: a line at each new version, a command at each change, never a value, a clean end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tegata.testing.warm_starts import WarmPopen

VALUE = "value-that-is-watched-4e55"
INSTALLED = [Path(sys.prefix, "bin", "tegata-credentials")]
# With a Python of its own, which takes every warning for an error: what is left open is a complaint.
ANEW = [sys.executable, "-W", "error", "-m", "tegata_credentials.cli"]


class Watched:
    """A running `watch` and what it has said so far."""

    def __init__(self, directory: Path, environ: dict[str, str], command: Sequence[str | Path]) -> None:
        self.files = directory / "out", directory / "err"
        with self.files[0].open("w") as out, self.files[1].open("w") as err:
            self.process = WarmPopen[bytes](command, env=environ, stdout=out, stderr=err)

    @property
    def lines(self) -> list[str]:
        return self.files[0].read_text().splitlines()

    @property
    def complaints(self) -> list[str]:
        return self.files[1].read_text().splitlines()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def watch(endpoint: Any, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def watching(*arguments: str, start: Sequence[str | Path] = INSTALLED) -> Watched:
        environ = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint.url,
        }
        command = [*start, "watch", "--region", "eu-west-1", "--every", "0.1", *arguments]
        started.append(Watched(tmp_path, environ, command))
        return started[-1]

    yield watching
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        assert VALUE not in "".join([*each.lines, *each.complaints])


def test_each_new_version_is_a_line_and_a_signal_ends_it_cleanly(watch, endpoint, until):
    endpoint.put("s", VALUE, version="v-1")
    watched = watch("s", start=ANEW)
    until(lambda: len(watched.lines) == 1)
    endpoint.put("s", VALUE + "!", version="v-2")
    until(lambda: len(watched.lines) == 2)
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 2)
    assert watched.end() == 0
    assert [re.sub(r"^\S+Z ", "", line) for line in watched.lines] == [
        "awssm:s version v-1",
        "awssm:s version v-2",
    ]
    assert watched.complaints == []


def test_a_failure_is_said_once_and_watching_goes_on(watch, endpoint, until):
    watched = watch("s", start=ANEW)
    until(lambda: len(endpoint.calls) > 2)
    endpoint.put("s", VALUE)
    until(lambda: len(watched.lines) == 1)
    assert watched.end(signal.SIGINT) == 0
    (complaint,) = watched.complaints
    assert "secret awssm:s: not_found" in complaint


def test_a_command_runs_at_each_change_and_knows_the_version_only(watch, endpoint, until, tmp_path):
    endpoint.put("s", VALUE, version="v-1")
    seen = tmp_path / "seen"
    code = f"import os; open({str(seen)!r}, 'a').write(os.environ['TEGATA_SECRET_VERSION'] + str(os.environ))"
    watched = watch("s", "--exec", shlex.join([sys.executable, "-c", code]))
    until(lambda: len(watched.lines) == 1)
    endpoint.put("s", VALUE, version="v-2")
    until(lambda: seen.exists() and "}" in seen.read_text())
    assert seen.read_text().startswith("v-2")
    assert VALUE not in seen.read_text()
    assert watched.end() == 0
    assert len(watched.lines) == 2


def test_a_command_that_runs_is_let_finish(watch, endpoint, until, tmp_path):
    endpoint.put("s", VALUE, version="v-1")
    began, go_on, ended = tmp_path / "began", tmp_path / "go-on", tmp_path / "ended"
    code = (
        f"import os, time; open({str(began)!r}, 'w').close()\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.02)\n"
        f"open({str(ended)!r}, 'w').close(); raise SystemExit(3)"
    )
    watched = watch("s", "--exec", shlex.join([sys.executable, "-c", code]))
    until(lambda: len(watched.lines) == 1)
    endpoint.put("s", VALUE, version="v-2")
    until(began.exists)
    watched.process.send_signal(signal.SIGTERM)
    go_on.touch()
    assert watched.process.wait(60) == 0
    assert ended.exists()
    assert "status 3" in watched.complaints[0]


def test_a_command_that_is_not_there_is_told_and_watching_goes_on(watch, endpoint, until):
    endpoint.put("s", VALUE, version="v-1")
    watched = watch("s", "--exec", "/absent/command")
    until(lambda: len(watched.lines) == 1)
    for number in (2, 3):
        endpoint.put("s", VALUE, version=f"v-{number}")
        until(lambda: len(watched.complaints) == number - 1)  # noqa: B023 - called before the next round
    assert "the command cannot be run: No such file" in watched.complaints[0]
    assert watched.end() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("s", "--every", "0"), "--every: give seconds, 0.1 to 86400"),
        (("s", "--every", "1m"), "--every: give seconds, 0.1 to 86400"),
        (("env:A-B",), "write env:NAME"),
        (("s", "--exec", "'"), "quotation mark"),
    ],
)
def test_wrong_usage_is_status_2(watch, arguments, says):
    watched = watch(*arguments)
    assert watched.process.wait(60) == 2
    assert says in "\n".join(watched.complaints)
