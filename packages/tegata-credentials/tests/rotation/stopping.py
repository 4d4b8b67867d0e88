"""Does one change of a directory of secrets, and stops the process at the n-th thing it asks of the operating system.

    python stopping.py DIRECTORY SECRET ACT HOW

For each n it copies the directory, forks, and lets the child do ACT in the copy. At the n-th event (an audit hook sees
each open, rename, link and removal before it happens) the child dies on the spot, for HOW `stop`. For `full`, whatever
needs room on the disk fails from there on; for `short`, no file can grow beyond 16 n bytes. The n-th copy is
`DIRECTORY.n`; the last child came to the end. Prints how many there are.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from typing import Any

from tegata_credentials.errors import SecretUnavailable
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING

WATCHED = frozenset({"open", "os.rename", "os.remove", "os.symlink", "os.mkdir", "fcntl.flock"})
DONE, STOPPED, FULL, OTHERWISE = 0, 9, 8, 1


def change(store: FileVersions, secret: str, act: str) -> None:
    labels = store.labels(secret)
    current, pending = labels.holder(CURRENT), labels.holder(PENDING)
    if act == "put":
        store.put_pending(secret, "second", HiddenText("value-two"))
    elif act == "promote" and current and pending:
        store.promote(secret, pending, replacing=current)
    elif act == "announce":
        store.announce(secret, "second")
    elif act == "create":
        store.create(secret + "/new", HiddenText("value-new"))


def child(directory: str, secret: str, act: str, how: str, stop_at: int) -> int:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in WATCHED:
            seen += 1
            if seen == stop_at and how == "stop":
                os._exit(STOPPED)
            if seen >= stop_at and how == "full" and needs_room(event, arguments):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if how == "short":
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 * stop_at, 16 * stop_at))
    else:
        sys.addaudithook(hook)
    try:
        change(FileVersions(directory), secret, act)
    except SecretUnavailable:
        return FULL
    return OTHERWISE if how == "stop" and seen >= stop_at else DONE


def needs_room(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return not isinstance(path, int) and bool(flags & os.O_CREAT) and not os.path.lexists(path)
    return event in ("os.rename", "os.symlink", "os.mkdir")


def main() -> None:
    directory, secret, act, how = sys.argv[1:]
    number, status = 0, -1
    while status != DONE:
        number += 1
        copy = f"{directory}.{number}"
        shutil.copytree(directory, copy, symlinks=True)
        child_id = os.fork()
        if child_id == 0:
            os._exit(child(copy, secret, act, how, number))
        status = os.waitstatus_to_exitcode(os.waitpid(child_id, 0)[1])
        if status not in (DONE, STOPPED, FULL):
            raise SystemExit(f"point {number} ended with {status}")
    print(number)


if __name__ == "__main__":
    main()
