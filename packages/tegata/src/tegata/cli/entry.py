"""What the script `tegata` calls: first of all what has to be there before anything is loaded."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_TERMINATED = 128 + signal.SIGTERM


def main() -> None:
    """Run the command line. A bare `tegata health`, which containers call all the time, loads nothing else."""
    if os.getpid() == 1:
        # The first process of a container has no default actions: Linux would drop a SIGTERM that nobody asked for,
        # and a migration, or a server that waits for its database, would end by SIGKILL alone (kill(2), NOTES).
        signal.signal(signal.SIGTERM, _end)
    if sys.argv[1:] == ["health"]:
        from tegata.cli.health import run

        sys.exit(run())
    from tegata.cli.main import main as command_line

    command_line()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(_TERMINATED)


if __name__ == "__main__":
    main()
