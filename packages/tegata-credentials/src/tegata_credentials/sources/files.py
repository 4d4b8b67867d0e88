"""Secrets in files: Docker and Kubernetes secrets, systemd credentials, a directory on a developer's machine.

One file holds one secret, and one line break at its end does not count, since editors add it. A file is read anew each
time, so a secret that the platform changes is seen; Kubernetes swaps a whole directory, and does not change what was
mounted with `subPath`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from tegata_credentials.errors import (
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
    SecretUnavailable,
)
from tegata_credentials.sources.one_by_one import attempt, fetch_each, or_raise
from tegata_credentials.sources.plain_text import MAX_BYTES, OneVersion, check_stage, check_text, decode
from tegata_credentials.versions import CURRENT, SecretVersion

_ROUNDS = 50  # how often a file is looked for again that is being replaced at this moment
_VERSIONS = "versions"  # in each directory of `rotation.file_store`
_MOVED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe that nobody writes to must not stop the program
_FINAL_LINE_BREAK = re.compile(r"\r?\n\Z")


class Files:
    """Reads `directory/NAME`; without a directory a name is an absolute path, as in the reference `file:/path`.

    A name may contain `/`. It leads nowhere outside the directory, by no `..` and by no link: the links that Kubernetes
    makes stay inside. Where `tegata secrets` rotates in the directory, the labels of the versions are heeded. Who may
    write into the directory is trusted. Permissions are not judged here: Docker and Kubernetes give files that every
    user of the container may read.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     _ = pathlib.Path(directory, "api-key").write_text("k-123" + chr(10))
    ...     found = Files(directory).fetch("api-key")
    >>> found.text == "k-123"
    True
    """

    scheme = "file"

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self._directory = None if directory is None else os.path.abspath(directory)
        self._versions = OneVersion()

    def __repr__(self) -> str:
        return f"Files({self._directory or ''!r})"

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        """Read the file. Raises `SecretNotFound`, `SecretAccessDenied`, `SecretMalformed`, `SecretUnavailable`."""
        return or_raise(attempt(partial(self._fetch, stage=stage), secret))

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        """Read each."""
        return fetch_each(self, secrets)

    def close(self) -> None:
        """Do nothing."""

    def _fetch(self, secret: str, stage: str) -> SecretVersion:
        path = self._path_of(secret)
        if os.path.isdir(os.path.join(path, _VERSIONS)):
            return self._from_versions(secret, path, stage)
        check_stage(secret, stage)
        return self._versions.of(secret, _FINAL_LINE_BREAK.sub("", decode(secret, self._read(secret, path))))

    def _path_of(self, secret: str) -> str:
        if self._directory is None:
            if not secret.startswith("/") or "\0" in secret:
                raise SecretNotFound(secret, "is not an absolute path: write file:/path")
            return secret
        parts = secret.split("/")
        # `..data` and its like are Kubernetes' own.
        if "\0" in secret or any(part in ("", ".") or part.startswith("..") for part in parts):
            raise SecretNotFound(secret, "is not the name of a file in the directory of secrets")
        return os.path.join(self._directory, *parts)

    def _from_versions(self, secret: str, path: str, stage: str) -> SecretVersion:
        """Read what `tegata secrets rotate` keeps: a directory for each secret, with its versions and their labels."""
        from tegata_credentials.rotation.file_store import FileVersions

        real = self._real(secret, path)
        store = FileVersions(os.path.dirname(real))
        found = attempt(lambda name: store.read(name, stage=stage), os.path.basename(real))
        if isinstance(found, SecretError):
            raise type(found)(secret, found.hint)
        return replace(found, secret=secret, text=check_text(secret, found.text))

    def _real(self, secret: str, path: str) -> str:
        real = os.path.realpath(path)
        if self._directory is not None and not _is_within(real, os.path.realpath(self._directory)):
            raise SecretNotFound(secret, "is a link that leads out of the directory of secrets")
        return real

    def _read(self, secret: str, path: str) -> bytes:
        error: OSError | None = None
        for _ in range(_ROUNDS):
            outcome = self._attempt(secret, path)
            if isinstance(outcome, bytes):
                return outcome
            # While Kubernetes swaps the directory, the one that was found a moment ago may be gone.
            error = outcome
            if error.errno not in _MOVED or not os.path.lexists(path):
                break
        raise _explain(secret, path, error)

    def _attempt(self, secret: str, path: str) -> bytes | OSError:
        try:
            # Whatever was resolved is opened, not what a link has become meanwhile.
            return _read_at_once(secret, os.open(self._real(secret, path), _FLAGS | os.O_NOFOLLOW))
        except OSError as error:
            return error.with_traceback(None)


def _read_at_once(secret: str, opened: int) -> bytes:
    """Return what is in the file, if it was the same before and after."""
    try:
        before = os.fstat(opened)
        if not stat.S_ISREG(before.st_mode):
            raise SecretMalformed(secret, "is no regular file: name the file that holds the value")
        pieces, size = [], 0
        while size <= MAX_BYTES and (piece := os.read(opened, MAX_BYTES + 1 - size)):
            pieces.append(piece)
            size += len(piece)
        after = os.fstat(opened)
    finally:
        with suppress(OSError):
            os.close(opened)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise OSError(errno.ESTALE, "it was written while it was read")
    return b"".join(pieces)


def _is_within(real: str, root: str) -> bool:
    return real.startswith(root.rstrip("/") + "/")


def _explain(secret: str, path: str, error: OSError | None) -> SecretError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SecretNotFound(secret, f"there is no file {path}")
    if isinstance(error, PermissionError):
        return SecretAccessDenied(secret, f"this process may not read {path}: see its owner and mode")
    if error is not None and error.errno == errno.ESTALE:
        return SecretUnavailable(secret, f"{path} is being written: replace it by renaming another file")
    return SecretUnavailable(secret, f"{path} cannot be read: {error.strerror if error else 'it is being replaced'}")
