"""`tegata` as a process that need not import itself: tests start it hundreds of times, and most of a start is imports.

One process for a test run, the nursery, has imported what commands need and does nothing else. It forks each command,
which gets its own arguments, variables, directory and descriptors, and runs the script's function. The command is a
child of the process that asks: it is waited for and sent signals as if it had been started. Only where Linux is.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, AnyStr

SCRIPTS: Mapping[str, tuple[str, str]] = {
    "tegata": ("tegata.cli.entry", "main"),
    "tegata-credentials": ("tegata_credentials.cli", "main"),
}
_IMPORTED = (
    *("tegata.app", "tegata.cli.main", "tegata.cli.serve", "tegata.cli.worker", "tegata.cli.migrate"),
    *("tegata.cli.http_server", "tegata.cli.apply", "tegata.cli.databases", "tegata.cli.doctor", "boto3"),
)
_PR_SET_CHILD_SUBREAPER = 36
_LARGEST = 1 << 17
_PROGRAM = "import sys; from tegata.testing.warm_starts import wait_for_starts; wait_for_starts(int(sys.argv[1]))()"


class WarmPopen(subprocess.Popen[AnyStr]):
    """`subprocess.Popen` for the scripts of this workspace: `WarmPopen([TEGATA, "serve"], env=..., stdout=log)`.

    Example:
        with WarmPopen([scripts / "tegata", "version"], stdout=subprocess.PIPE, text=True) as process:
            said, _ = process.communicate()
    """

    def _execute_child(  # noqa: PLR0917 - as the base class calls it
        self,
        args: Sequence[str | Path],
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Sequence[int],
        cwd: Any,
        env: Mapping[str, str] | None,
        startupinfo: Any,
        creationflags: int,
        shell: bool,
        *rest: Any,
    ) -> None:
        name = Path(args[0]).name
        pipes = rest[:6]
        _, gid, gids, uid, umask, start_new_session, *_ = rest[6:]
        variables = dict(os.environ if env is None else env)
        is_plain = not (executable or preexec_fn or pass_fds or shell or gids) and (gid, uid, umask) == (None, None, -1)
        # Python has read its own variables by now.
        is_early = any(each.startswith("PYTHON") for each in variables)
        if name not in SCRIPTS or not is_plain or is_early or sys.platform != "linux":
            asked = (args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell)
            super()._execute_child(*asked, *rest)  # type: ignore[misc]
            return
        read, _, _, write, _, error = pipes
        wanted = {
            "words": [str(word) for word in args],
            "directory": str(cwd or Path.cwd()),
            "variables": variables,
            "session": bool(start_new_session),
        }
        inherited = [own if given == -1 else given for given, own in ((read, 0), (write, 1), (error, 2))]
        try:
            self.pid = _nursery().start(wanted, inherited)
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._child_created = True


def run_to_its_end(
    words: Sequence[str | Path], *, input: str | None = None, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command as `subprocess.run` does with `text=True, capture_output=True, check=False`."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with WarmPopen[str](words, **options) as process:
        try:
            said, complained = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(list(words), process.returncode, said, complained)


class _Nursery:
    """The process that waits, as its parent sees it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # None of our variables: what is decided while Python starts is decided as in an empty environment.
            self._process = subprocess.Popen(  # noqa: S603 - this Python, a program of ours
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                env={"PATH": os.environ.get("PATH", os.defpath)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._lock = threading.Lock()
        self._linux = ctypes.CDLL(None)

    def start(self, wanted: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """Let a command be forked; return its process id. It is a child of this process."""
        with self._lock:
            # The nursery's child ends at once, and what it has forked goes to the next ancestor that takes orphans.
            self._linux.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._control, [json.dumps(wanted).encode()], list(descriptors))
                answer = self._control.recv(_LARGEST)
            finally:
                self._linux.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not answer:
            raise RuntimeError("the process that starts commands for tests is gone")
        return int(answer)

    def end(self) -> None:
        """Let it go; commands that still run are not concerned."""
        self._control.close()
        self._process.wait()


@cache
def _nursery() -> _Nursery:
    made = _Nursery()
    atexit.register(made.end)
    return made


def wait_for_starts(descriptor: int) -> Callable[[], None]:
    """Import, then fork a command whenever one is asked for. Returns in the command, with what it has to do."""
    control = socket.socket(fileno=descriptor)
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, _LARGEST, 3)
        if not asked:
            sys.exit()
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            command = os.fork()
            if command == 0:
                return _become(json.loads(asked), descriptors, tell)
            os._exit(0)
        os.close(tell)
        os.waitpid(between, 0)
        control.send(os.read(told, 64))
        for opened in (told, *descriptors):
            os.close(opened)


def _become(wanted: Mapping[str, Any], descriptors: Sequence[int], tell: int) -> Callable[[], None]:
    try:
        if wanted["session"]:
            os.setsid()
        for number, given in enumerate(descriptors):
            os.dup2(given, number)
        os.chdir(wanted["directory"])
    finally:
        # Whoever asked goes on from here, as after the exec of any other start: it finds what it has asked for.
        os.write(tell, str(os.getpid()).encode())
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(wanted["variables"])
    time.tzset()
    sys.argv = list(wanted["words"])
    module, function = SCRIPTS[Path(sys.argv[0]).name]
    main = getattr(importlib.import_module(module), function)
    return lambda: sys.exit(main())
