"""Keeps versions of secrets in a directory, for machines without a cloud: immutable files, and labels in one file.

    DIRECTORY/NAME/              0700, of the user who runs this; NAME may have several parts: `shop/prod/jwt`
        versions/TOKEN           0600, the value and nothing else; written once, never changed
        labels.json              0600, {"labels": {LABEL: {"version": TOKEN, "since": TIME}}, "versions": {TOKEN: TIME}}
                                 in seconds since the epoch; a file that it does not list is no version
        current -> versions/...  always the value of AWSCURRENT, for readers that know files only
        lock                     flock: one writer at a time
        rotating                 flock: one rotation at a time, for as long as it runs

Each change is written beside, synced and renamed, so that a crash or a full disk at any point leaves the state from
before or the one from after. What moves AWSCURRENT moves `current` first: if the machine stops between the two, readers
of `current` have a value that works (it had been tested), the rotation is still unfinished, and resuming it moves the
labels after it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from tegata_credentials.errors import (
    SecretAccessDenied,
    SecretMalformed,
    SecretNotFound,
    SecretUnavailable,
)
from tegata_credentials.rotation.durable_files import (
    DRAFT,
    Broken,
    Exposed,
    check_directory,
    draft,
    locked,
    read,
    sync,
)
from tegata_credentials.rotation.errors import RotationBusy, RotationRefused
from tegata_credentials.rotation.ports import CURRENT, PENDING, PREVIOUS, Labels
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

VERSIONS, LABELS, LINK, LOCK, ROTATING = "versions", "labels.json", "current", "lock", "rotating"
_OURS = frozenset({VERSIONS, LABELS, LINK, LOCK, ROTATING})
_NAME = re.compile(r"[A-Za-z0-9_+=@-][A-Za-z0-9_+=@.-]*(/[A-Za-z0-9_+=@-][A-Za-z0-9_+=@.-]*)*")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_DRAFT_LINK = ".draft-link"


@dataclass(frozen=True, slots=True)
class _Mark:
    version: str
    since: float


@dataclass(frozen=True, slots=True)
class _Book:
    """What labels.json says. A file that it does not list is no version: somebody stopped before it became one."""

    marks: Mapping[str, _Mark]
    made: Mapping[str, float]

    def stages(self, version: str) -> frozenset[str]:
        return frozenset(label for label, mark in self.marks.items() if mark.version == version)

    def marked(self, label: str, version: str, since: float) -> _Book:
        made = self.made.get(version, since)
        return _Book({**self.marks, label: _Mark(version, since)}, {**self.made, version: made})

    def announced(self, version: str, since: float) -> _Book:
        return _Book({**self.marks, PENDING: _Mark(version, since)}, self.made)

    def without(self, label: str, version: str) -> _Book:
        marks = {name: mark for name, mark in self.marks.items() if (name, mark.version) != (label, version)}
        return _Book(marks, self.made)

    def kept(self, loose: int) -> _Book:
        """Forget the oldest versions without a label, so that no more than `loose` of them stay."""
        ages = sorted((made, version) for version, made in self.made.items() if not self.stages(version))
        gone = {version for _, version in ages[: max(0, len(ages) - loose)]}
        return _Book(self.marks, {version: made for version, made in self.made.items() if version not in gone})


@dataclass(frozen=True, slots=True)
class FileVersions:
    """A `VersionStore` in a directory. Safe for several threads and processes of one machine and one user.

    Versions without a label are removed when there are more than `keep` of them, oldest first; one with a label never.

    Example:

        >>> import tempfile
        >>> store = FileVersions(tempfile.mkdtemp())
        >>> first = store.create("shop-dev-secret-jwt", HiddenText("{}"))
        >>> store.put_pending("shop-dev-secret-jwt", "0b51", HiddenText('{"keys": []}'))
        >>> store.promote("shop-dev-secret-jwt", "0b51", replacing=first)
        >>> store.read("shop-dev-secret-jwt", stage="AWSCURRENT").version
        '0b51'
        >>> Path(store.directory, "shop-dev-secret-jwt", "current").read_text()
        '{"keys": []}'
    """

    dates_labels: ClassVar[Literal[True]] = True

    directory: str | os.PathLike[str]
    keep: int = 10
    now: Callable[[], float] = field(default=time.time, repr=False)

    def create(self, secret: str, text: HiddenText, token: str | None = None) -> str:
        """Make a secret whose first version is current. Return that version. Raises `RotationRefused` if there is one.

        An empty text is a value: a first rotation of signing keys begins with one.
        """
        token = _checked(secret, token or str(uuid.uuid4()))
        with _told(secret):
            place = self._made(secret)
            with locked(place / LOCK):
                if (place / LABELS).exists():
                    raise RotationRefused(
                        f"secret {secret} exists already: rotate it; or, if it was made wrongly and nothing reads it "
                        f"yet, remove {place} and make it again"
                    )
                draft(place / VERSIONS, token, text)
                _commit(place, _Book({}, {}).marked(CURRENT, token, self.now()))
        return token

    def labels(self, secret: str) -> Labels:
        """Return the versions and their labels, as they are at this moment."""
        with _told(secret):
            book = _read_book(self._found(secret))
            moved = {label: mark.since for label, mark in book.marks.items()}
            names = [*book.made, *(mark.version for mark in book.marks.values())]
            return Labels(secret, secret, {version: book.stages(version) for version in names}, moved)

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return one version, by label or by name or by both (then both must agree); AWSCURRENT if neither is given."""
        with _told(secret):
            place = self._found(secret)
            book = _read_book(place)
            while True:
                found = _chosen(secret, book, stage, version)
                try:
                    return SecretVersion(secret, found, read(place / VERSIONS / found), book.stages(found))
                except FileNotFoundError:
                    # Rotations may have gone on since the labels were read, until this version was swept away.
                    before, book = book, _read_book(place)
                    if book == before:
                        raise

    def announce(self, secret: str, token: str) -> None:
        """Give AWSPENDING to `token`, which has no value yet. The same again changes nothing.

        Raises `RotationBusy` while another rotation is unfinished, `RotationRefused` if the token has been used.
        """
        _checked(secret, token)
        with self._writing(secret) as (place, book):
            pending = book.marks.get(PENDING)
            if pending is not None and pending.version == token:
                return
            if pending is not None and not book.stages(pending.version) & {CURRENT, PREVIOUS}:
                raise RotationBusy(f"the rotation {pending.version} of secret {secret} is unfinished")
            if token in book.made:
                raise RotationRefused(f"version {token} of secret {secret} has been made already")
            _commit(place, book.announced(token, self.now()))

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        """Keep `text` as version `token` with AWSPENDING. The same again changes nothing.

        Raises `RotationRefused` if `token` has another value: a version never changes.
        """
        _checked(secret, token)
        with self._writing(secret) as (place, book):
            if token in book.made:
                if read(place / VERSIONS / token) != text:
                    raise RotationRefused(f"version {token} of secret {secret} has another value already")
                return
            draft(place / VERSIONS, token, text)
            self._keep(place, book.marked(PENDING, token, self.now()))

    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        """Move AWSCURRENT from version `replacing` to `token`; AWSPREVIOUS goes to `replacing`. AWSPENDING goes away.

        The same again changes nothing. Raises `RotationBusy` if `replacing` is not the current one any more.
        """
        _checked(secret, token)
        with self._writing(secret) as (place, book):
            current, previous = book.marks[CURRENT].version, book.marks.get(PREVIOUS)
            if current == token and previous is not None and previous.version == replacing:
                return
            if current != replacing or token == replacing:
                raise RotationBusy(f"version {replacing} of secret {secret} is not the current one any more")
            if token not in book.made:
                raise SecretNotFound(secret, f"there is no version {token}")
            moment = self.now()
            after = book.marked(CURRENT, token, moment).marked(PREVIOUS, replacing, moment)
            self._keep(place, after.without(PENDING, token))

    @contextmanager
    def exclusively(self, secret: str) -> Iterator[None]:
        """Enter as the only rotation of this secret. Raises `RotationBusy` at once if there is another one.

        The lock ends with the process that holds it, however it ends.
        """
        with _told(secret):
            held = os.open(self._found(secret) / ROTATING, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with _told(secret):
                _take(secret, held)
            yield
        finally:
            os.close(held)

    def close(self) -> None:
        """Nothing is held between two calls."""

    @contextmanager
    def _writing(self, secret: str) -> Iterator[tuple[Path, _Book]]:
        with _told(secret):
            place = self._found(secret)
            with locked(place / LOCK):
                yield place, _read_book(place)

    def _made(self, secret: str) -> Path:
        for part in self._path(secret):
            if not part.is_dir():
                part.mkdir(mode=0o700, exist_ok=True)
                sync(part.parent)
        return self._found(secret)

    def _found(self, secret: str) -> Path:
        path = self._path(secret)
        for part in path:
            check_directory(part)
        return path[-2]

    def _path(self, secret: str) -> list[Path]:
        """Return every directory from the top down to that of the versions."""
        parts = secret.split("/")
        if not _NAME.fullmatch(secret) or _OURS & set(parts):
            raise SecretNotFound(secret[:128], "this cannot be the name of a secret in files")
        places = [Path(self.directory)]
        for part in (*parts, VERSIONS):
            places.append(places[-1] / part)
        return places

    def _keep(self, place: Path, book: _Book) -> None:
        book = book.kept(self.keep)
        _commit(place, book)
        for name in os.listdir(place / VERSIONS):
            if name not in book.made:
                with suppress(OSError):  # it is done; the next change sweeps again
                    os.unlink(place / VERSIONS / name)


def _checked(secret: str, token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise RotationRefused(f"secret {secret}: a version is named by 1 to 64 letters, digits and hyphens")
    return token


@contextmanager
def _told(secret: str) -> Iterator[None]:
    """Turn what the operating system says into the errors of secrets; neither repeats a value."""
    try:
        yield
    except Exposed as error:
        raise SecretAccessDenied(secret, str(error)) from None
    except Broken as error:
        raise SecretMalformed(secret, str(error)) from None
    except FileNotFoundError as error:
        raise SecretNotFound(secret, f"there is no {error.filename or 'such file'}") from None
    except OSError as error:
        denied = error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP)  # ELOOP: a symbolic link in place of a file
        kind = SecretAccessDenied if denied else SecretUnavailable
        raise kind(secret, error.strerror or type(error).__name__) from None


def _read_book(place: Path) -> _Book:
    try:
        found: Any = json.loads(read(place / LABELS))
        marks = {str(label): _Mark(str(v["version"]), float(v["since"])) for label, v in found["labels"].items()}
        book = _Book(marks, {str(version): float(made) for version, made in found["versions"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Broken(f"{LABELS} cannot be read") from None
    labelled = {mark.version for label, mark in marks.items() if label != PENDING}
    if (
        CURRENT not in marks
        or not labelled <= book.made.keys()
        or not all(_TOKEN.fullmatch(name) for name in (*book.made, *labelled))
    ):
        raise Broken(f"{LABELS} contradicts itself")
    return book


def _chosen(secret: str, book: _Book, stage: str | None, version: str | None) -> str:
    """Return the version that is meant. Raises `SecretNotFound`."""
    if version is None:
        stage = stage or CURRENT
        if stage not in book.marks:
            raise SecretNotFound(secret, f"no version is {stage}")
        version = book.marks[stage].version
    if version not in book.made or (stage is not None and stage not in book.stages(version)):
        raise SecretNotFound(secret, f"there is no version {version[:64]}, or it is not {stage or 'kept'}")
    return version


def _commit(place: Path, book: _Book) -> None:
    """Move the labels, and `current` if AWSCURRENT moves. What needs room on the disk is done before either."""
    labels = {label: {"version": mark.version, "since": mark.since} for label, mark in sorted(book.marks.items())}
    draft(place, DRAFT, json.dumps({"labels": labels, "versions": dict(book.made)}, indent=1) + "\n")
    if _linked(place) != book.marks[CURRENT].version:  # as after a promotion that ended halfway and was never resumed
        _point(place, book.marks[CURRENT].version)
    os.replace(place / DRAFT, place / LABELS)
    sync(place)


def _point(place: Path, token: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(place / _DRAFT_LINK)
    os.symlink(f"{VERSIONS}/{token}", place / _DRAFT_LINK)
    os.replace(place / _DRAFT_LINK, place / LINK)
    sync(place)


def _linked(place: Path) -> str | None:
    try:
        return os.readlink(place / LINK).removeprefix(f"{VERSIONS}/")
    except OSError:
        return None


def _take(secret: str, held: int) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RotationBusy(f"secret {secret} is being rotated at this moment") from None
