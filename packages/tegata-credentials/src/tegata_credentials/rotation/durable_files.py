"""Files of one user that are either as before or as they should be, whenever the machine stops or the disk is full."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tegata_credentials.token_state import HiddenText

DRAFT = ".draft"  # one writer at a time, so one name is enough, and a crash leaves at most one of it
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


class Exposed(Exception):
    """Somebody else could read or change it.

    >>> str(Exposed("others may read it"))
    'others may read it'
    """


class Broken(Exception):
    """Not a file of this store.

    >>> str(Broken("a link stands in its place"))
    'a link stands in its place'
    """


def check_directory(path: Path) -> None:
    """Raise `Exposed` unless it is a directory that nobody but this user can use."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Exposed(f"{path.name} is not a directory")
    _check_owner(path.name, found)


def _check_owner(name: str, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise Exposed(f"{name} belongs to user id {found.st_uid}, and this process is {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise Exposed(f"others may use {name}: chmod {mode}")


def read(path: Path) -> HiddenText:
    """Read a file that nobody but this user can use. Raises `Exposed`, `Broken`, `OSError`."""
    with open(os.open(path, os.O_RDONLY | _OPEN), "rb") as file:
        _check_owner(path.name, os.fstat(file.fileno()))
        try:
            return HiddenText(file.read(), "utf-8")
        except UnicodeDecodeError:
            raise Broken(f"{path.name} is not UTF-8") from None


def draft(place: Path, name: str, text: str) -> None:
    """Write a whole file, on the disk for good; nobody may look at it before, since a crash can leave a part of it."""
    with suppress(FileNotFoundError):
        os.unlink(place / name)
    try:
        with open(os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            os.unlink(place / name)
        raise
    sync(place)


def sync(directory: Path) -> None:
    """Make what was renamed in it last."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(held)
    finally:
        os.close(held)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one who has this file locked, among threads and processes; waits for the others."""
    held = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
