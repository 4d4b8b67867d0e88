"""Puts wheels and our own package into one zip file, byte for byte the same whenever it is built from the same."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN, _PROGRAM = 0o100644 << 16, 0o100755 << 16
_NEVER = ("__pycache__/", ".pyc", "/RECORD", "/INSTALLER", "/direct_url.json", ".pyi", "/py.typed")
# Stand-ins that issue tokens have no business in a function that may change passwords.
_FOR_TESTS = "tegata_credentials/testing/"


class Conflict(Exception):
    """Two packages bring the same file."""


def files_of_wheel(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what an installer would put into site-packages (PyPA, "Binary distribution format")."""
    with zipfile.ZipFile(wheel) as opened:
        for name in opened.namelist():
            data, inside, rest = name.partition(".data/")
            if inside and "/" not in data:
                kind, _, path = rest.partition("/")
                if kind in ("purelib", "platlib"):
                    yield path, opened.read(name)
            elif not name.endswith("/"):
                yield name, opened.read(name)


def files_of_package(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield our own package's files under their names in site-packages."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            yield f"{source.name}/{path.relative_to(source).as_posix()}", path.read_bytes()


def is_shipped(name: str) -> bool:
    """Whether a file is needed at run time."""
    left_out = (name.endswith(part) or (part.endswith("/") and part in name) for part in _NEVER)
    return not name.startswith(_FOR_TESTS) and not any(left_out)


def write_zip(place: Path, contents: dict[str, bytes]) -> None:
    """Write the files in the order of their names, with one date."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # In a folder of its own: another build may be writing the same zip at this moment.
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=place.parent) as folder:
        unfinished = Path(folder, place.name)
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
            for name in sorted(contents):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = _PROGRAM if ".so" in name.rpartition("/")[2] else _PLAIN
                opened.writestr(entry, contents[name])
        unfinished.replace(place)


def gather(wheels: list[Path], package: Path, beside: dict[str, bytes]) -> dict[str, bytes]:
    """Return every file by its name; `beside` are further ones. Raises `Conflict`."""
    contents: dict[str, bytes] = dict(beside)
    sources = [*(files_of_wheel(wheel) for wheel in sorted(wheels)), files_of_package(package)]
    for source in sources:
        for name, content in source:
            if not is_shipped(name):
                continue
            if contents.setdefault(name, content) != content:
                raise Conflict(f"two packages bring {name}, and they differ")
    return contents
