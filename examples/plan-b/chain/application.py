"""Applications under uvicorn: the example as a process, and any other in a thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from chain.waiting import answers, wait_until

EXAMPLE = Path(__file__).parents[1]


@contextmanager
def serve_application(
    hosts: tuple[str, ...], port: int, environment: Mapping[str, str], *, log: Path | None = None
) -> Iterator[None]:
    """Run the example at each of `hosts`, a process each, with the README's command; what they say goes to `log`."""
    command = [sys.executable, "-m", "uvicorn", "app.main_app:app", "--app-dir", str(EXAMPLE), "--http", "h11"]
    # What this process inherited must not decide whom the application trusts.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COGNITO", "TEGATA"))}
    running = []
    try:
        with open(log or os.devnull, "ab") as said:
            for host in hosts:
                process = subprocess.Popen(  # noqa: S603 - this Python, our own application
                    [*command, "--host", host, "--port", str(port)],
                    env={**inherited, **environment},
                    stdout=said,
                    stderr=said,
                )
                running.append(process)
        for host in hosts:
            wait_until(partial(answers, f"http://{host}:{port}/health"), f"the application on {host}")
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextmanager
def serve_in_thread(application: Any, host: str, port: int, **options: Any) -> Iterator[uvicorn.Server]:
    """Run an application in this process; `options` are uvicorn's."""
    server = uvicorn.Server(
        uvicorn.Config(application, host=host, port=port, http="h11", log_level="critical", lifespan="off", **options)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "uvicorn")
        yield server
    finally:
        server.should_exit = True
        thread.join(20)
