"""A function as in AWS Lambda, in a process of its own: frozen, thawed, forked, with clocks that jump, and rotated."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAME = "shop-prod-secret-database"
TTL = 300
PAGE = Path(__file__).parents[4] / "docs/reference/credentials.md"

# What runs the function as the platform does: it imports the module once and calls the handler for each event.
RUNTIME = """
import json, os, sys, threading, time
import clocks, function

def invoke():
    answer = function.handler({}, None)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(60)
    return {**answer, "threads": threading.active_count()}

def invoke_in_fork():
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(invoke()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found = json.load(answer)
    os.wait()
    return found

print("ready", flush=True)
for line in sys.stdin:
    word, *figures = line.split()
    if word == "jump":
        clocks.ticks_ahead += float(figures[0])
        clocks.wall_ahead += float(figures[1])
    print(json.dumps(invoke_in_fork() if word == "fork" else invoke() if word == "invoke" else {}), flush=True)
"""
CLOCKS = """
import time
from tegata_credentials.secret_service import Timing
ticks_ahead = wall_ahead = 0.0
timing = Timing(ticks=lambda: time.monotonic() + ticks_ahead, wall=lambda: time.time() + wall_ahead)
"""


CHANGES = {
    "AwsSecretsManager(), ": "AwsSecretsManager(connect_timeout=60, read_timeout=60), timing=clocks.timing, ",
    "patience=5.0": "patience=60.0, fetch_timeout=60.0",
}


def written(number: int) -> str:
    document = {"username": f"app_{number}", "password": f"password-{number}-d41d8c", "host": "db.example.com"}
    return json.dumps({**document, "dbname": "shop"})


class Function:
    """The function in its process."""

    def __init__(self, directory: Path, endpoint: Any) -> None:
        (page,) = re.findall(r"## In AWS Lambda\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        # As the page has it, but for the clocks, and for patience with a busy machine.
        module = f"import clocks\n{page}"
        for written, needed in CHANGES.items():
            assert module.count(written) == 1
            module = module.replace(written, needed)
        (directory / "function.py").write_text(module)
        (directory / "clocks.py").write_text(CLOCKS)
        environ = {
            **os.environ,
            "PYTHONPATH": str(directory),
            "AWS_LAMBDA_FUNCTION_NAME": "orders",
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint.url,
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-W", "error", "-c", RUNTIME], env=environ, **pipes)
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, *words: object) -> dict[str, Any]:
        print(*words, file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def invoke(self) -> dict[str, Any]:
        return self.tell("invoke")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def function(endpoint: Any, tmp_path: Path) -> Iterator[Function]:
    endpoint.put(NAME, written(1), version="v-1")
    made = Function(tmp_path, endpoint)
    try:
        yield made
    finally:
        made.stop()


def calls(endpoint: Any) -> int:
    return len(endpoint.asked("GetSecretValue"))


def test_the_module_is_imported_without_a_call_and_fifty_invocations_make_one(function, endpoint):
    assert calls(endpoint) == 0
    answers = [function.invoke() for _ in range(50)]
    assert answers == [{"user": "app_1", "version": "v-1", "threads": 1}] * 50
    assert calls(endpoint) == 1
    assert function.process.poll() is None


@pytest.mark.parametrize(
    ("ticks", "wall"),
    [(TTL + 1, TTL + 1), (0, TTL + 1), (TTL + 1, 0), (TTL + 1, -86_400)],
    ids=["both clocks", "only the wall clock", "only the other clock", "the wall clock is set back"],
)
def test_a_thaw_after_the_life_of_the_value_is_one_more_call_whichever_clock_went_on(function, endpoint, ticks, wall):
    function.invoke()
    endpoint.put(NAME, written(2), version="v-2")
    assert function.invoke()["version"] == "v-1"
    function.tell("jump", ticks, wall)
    assert [function.invoke()["version"] for _ in range(5)] == ["v-2"] * 5
    assert calls(endpoint) == 2


def test_one_call_for_each_life_over_many_of_them(function, endpoint):
    for number in range(1, 8):
        endpoint.put(NAME, written(number), version=f"v-{number}")
        for _ in range(4):
            assert function.invoke() == {"user": f"app_{number}", "version": f"v-{number}", "threads": 1}
        assert calls(endpoint) == number
        function.tell("jump", TTL + 1, TTL + 1)


def test_a_process_that_really_stood_still_goes_on(function, endpoint, until: Callable[..., None]):
    function.invoke()
    function.process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{function.process.pid}/stat").read_text().split()[2] == "T")
    endpoint.put(NAME, written(2), version="v-2")
    endpoint.hang_up()
    until(lambda: not endpoint.connections)
    function.process.send_signal(signal.SIGCONT)
    assert function.invoke()["version"] == "v-1"
    function.tell("jump", 0, TTL + 1)
    assert function.invoke()["version"] == "v-2"
    assert calls(endpoint) == 2


def test_a_forked_process_goes_on_with_what_is_known_and_reads_for_itself_later(function, endpoint):
    function.invoke()
    assert function.tell("fork")["version"] == "v-1"
    endpoint.put(NAME, written(2), version="v-2")
    function.tell("jump", TTL + 1, TTL + 1)
    assert function.tell("fork")["version"] == "v-2"
    assert function.invoke()["version"] == "v-2"


def test_while_the_store_refuses_an_invocation_has_the_old_value(function, endpoint, refused):
    function.invoke()
    function.tell("jump", TTL + 1, TTL + 1)
    endpoint.constant = refused("SomethingNewException")  # one call: no test waits for retries here
    assert function.invoke()["version"] == "v-1"
    assert calls(endpoint) == 2
