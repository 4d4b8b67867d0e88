"""Run a command until it ends, until SIGTERM, or until the process named first is gone.

`python guardian.py PID COMMAND…`. A test run that is killed cannot stop its server; this small parent does it instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType


def is_running(pid: int) -> bool:
    """False for a process that is gone, or dead and not yet collected by its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def main(watched: int, command: list[str]) -> int:
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(command) as child:
        while child.poll() is None and not asked and is_running(watched):
            time.sleep(0.1)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(50)
            except subprocess.TimeoutExpired:
                os.kill(child.pid, signal.SIGKILL)
        return child.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
