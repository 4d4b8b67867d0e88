"""Starts the chain, says where to go, and ends it with Ctrl-C.

python -m demo [--port 8080] [--nginx /where/it/is]
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chain.nginx import find_nginx
from chain.plan_b import Chain, run_chain

from demo.login import ChooseWho
from tegata_credentials.testing.secrets_manager import StandIn, StandInError

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run until somebody ends it."""
    parser = argparse.ArgumentParser(prog="make demo-plan-b", description="Plan B on this machine, to click through.")
    parser.add_argument("--port", type=int, default=0, help="where the front load balancer listens; any free port")
    parser.add_argument("--nginx", help="the program, if it is not where it usually is")
    given = parser.parse_args()
    nginx = shutil.which(given.nginx or find_nginx() or "nginx")
    if nginx is None:
        return complain("nginx is not installed, and the chain goes through it: apt-get install nginx")
    for ends in ENDING:
        signal.signal(ends, end)
    try:
        with running(nginx, given.port) as chain:
            say(chain)
            # Not signal.pause(): a signal that comes just before it would wake nobody.
            while True:
                time.sleep(1)
    except KeyboardInterrupt:
        print("\nended; nothing is left", flush=True)
        return 0
    except (StandInError, OSError, RuntimeError) as error:
        return complain(str(error))


@contextmanager
def running(nginx: str, port: int) -> Iterator[Chain]:
    """The chain, with a page on which to choose who one is."""
    print("starting: Cognito's stand-in, the application, nginx, the front load balancer ...", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="plan-b-") as directory,
        StandIn(region="eu-west-1") as moto,
        run_chain(
            moto,
            Path(directory),
            nginx=nginx,
            backs=("127.0.0.1",),
            front_port=port,
            unauthenticated="log in",
        ) as chain,
    ):
        chain.front.sessions = ChooseWho(chain.pool)
        yield chain


def say(chain: Chain) -> None:
    """Tell where to go."""
    print(
        f"\n  open    {chain.front.url}/\n"
        f"\n  past the front load balancer, straight to nginx: {chain.nginx.url}/me  (is refused)"
        "\n  end     Ctrl-C\n",
        flush=True,
    )


def end(number: int, _: object) -> None:
    """Begin to end, and let nothing disturb it."""
    for ends in ENDING:
        signal.signal(ends, signal.SIG_IGN)
    raise KeyboardInterrupt


def complain(text: str) -> int:
    """Say what is wrong, where errors are read."""
    print(f"plan-b: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
