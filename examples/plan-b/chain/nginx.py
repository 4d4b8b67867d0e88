"""Debian's nginx with the generated configuration, as an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from chain.waiting import PATIENCE_SECONDS, answers, free_port, wait_until

DEPLOY = Path(__file__).parents[1] / "deploy"
if str(DEPLOY) not in sys.path:
    sys.path.insert(0, str(DEPLOY))

from nginx_configuration import NginxConfiguration, build_configuration  # noqa: E402

NOBODY = "nobody"
FRONT = "127.0.0.1"
"""Where the front load balancer's connections come from."""


def find_nginx() -> str | None:
    """Return where nginx is, None if it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def configure(directory: Path, **given: Any) -> NginxConfiguration:
    """Return a configuration for loopback, with its files in `directory`; `given` is laid over it.

    nginx is patient with what answers here: on a busy machine a second passes, and nothing is wrong.
    """
    settings: dict[str, Any] = {
        "back_host": "back.plan-b.internal",
        "front_networks": [f"{FRONT}/32"],
        "listen_address": "127.0.0.1",
        "listen_port": free_port(),
        "back_ca": None,
        "resolver": "127.0.0.1",
        "resolver_valid_seconds": 1,
        "resolver_seconds": 30,
        "connect_seconds": 30,
        "workers": 1,
        "run_directory": str(directory),
        "access_log": str(directory / "access.log"),
        "error_log": str(directory / "error.log"),
    }
    return NginxConfiguration(**{**settings, **given})


class Nginx:
    """nginx with one configuration and its files in `directory`, which is to be empty or hold certificates.

    Started by root it runs as nobody, master and workers, and the directory becomes theirs: others must be able to
    enter the folders above it.
    """

    def __init__(self, program: str, directory: Path, config: NginxConfiguration) -> None:
        self.program, self.directory, self.config = program, directory, config
        self.file = directory / "nginx.conf"
        self.port = config.listen_port
        self.url = f"http://127.0.0.1:{config.listen_port}"
        self._health = f"{self.url}{config.health_path}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        self.file.write_text(build_configuration(self.config))
        with open(self.directory / "stderr", "wb") as said:
            self._process = subprocess.Popen(  # noqa: S603 - nginx, with a configuration of ours
                [self.program, "-p", self.directory, "-e", "stderr", "-c", self.file, "-g", "daemon off;"],
                stdout=subprocess.DEVNULL,
                stderr=said,
                **_as_nobody(self.directory),
            )
        try:
            wait_until(self._is_up, "nginx")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:  # its workers would be left, if it were ended sooner
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """The master's process."""
        assert self._process is not None
        return self._process.pid

    def reload(self) -> None:
        """Have the configuration read again; return when new workers alone accept. Old ones serve what they have begun.

        The master starts the new ones first and tells the old ones a moment later: until then these accept, too.
        """
        assert self._process is not None
        before = self.workers
        self._process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.workers - before and all(map(_is_ending, before)), "new workers")

    @property
    def workers(self) -> frozenset[int]:
        """The processes that accept connections: old ones that serve on after a reload are not among them."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return frozenset(pid for pid in map(int, children.split()) if not _is_ending(pid))

    def read_access_log(self) -> str:
        """Return a line of JSON for each request that has ended."""
        return Path(self.config.access_log).read_text(errors="replace")

    def read_logs(self) -> str:
        """Return all that nginx has written."""
        files = [Path(self.config.access_log), Path(self.config.error_log), self.directory / "stderr"]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError("nginx did not start: " + (self.directory / "stderr").read_text())
        return answers(self._health)


def _is_ending(pid: int) -> bool:
    """Tell whether a worker accepts no more, by the name that it then gives itself."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended, before the file was opened or while it was read
    return not name.strip(b"\0") or b"shutting down" in name


def _as_nobody(directory: Path) -> dict[str, Any]:
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam(NOBODY)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
