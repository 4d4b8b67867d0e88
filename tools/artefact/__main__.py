"""`make lambda`: builds the zip of the rotation function for each architecture, from pinned wheels, without Docker.

The wheels are kept in `dist/lambda/wheels` and downloaded again only when the pins have changed.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from artefact.package import gather, write_zip
from artefact.target import ARCHITECTURES, Target, pinned_for

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "packages" / "tegata-credentials" / "src" / "tegata_credentials"
PINS = ROOT / "requirements" / "lambda.txt"
MOST_MEGABYTES = 20
HANDLER = "tegata_credentials.rotation.lambda_function.handler"
PAGE = "docs/how-to/rotate-secrets-on-aws.md"
CA_FILE = "database-ca.pem"
"""Where `tegata_credentials.rotation.lambda_function` looks for certificates, beside the packages."""


class BuildError(Exception):
    """The zip cannot be built; the message says why."""


def main(arguments: list[str]) -> int:
    """Build, and print one line for each file, and how it is called."""
    parser = argparse.ArgumentParser(prog="make lambda", description=__doc__, allow_abbrev=False)
    parser.add_argument("--python", default="3.13", help="the function's runtime (3.13)")
    parser.add_argument("--architecture", choices=tuple(ARCHITECTURES), action="append", help="default: both")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "lambda", help="folder (dist/lambda)")
    parser.add_argument(
        "--ca", type=Path, help="certificates that the database's is verified with (AWS: global-bundle.pem of RDS)"
    )
    chosen = parser.parse_args(arguments)
    try:
        beside = {} if chosen.ca is None else {CA_FILE: _certificates(chosen.ca)}
        for architecture in chosen.architecture or ARCHITECTURES:
            place = build(Target(architecture, chosen.python), chosen.output, beside)
            digest = hashlib.sha256(place.read_bytes()).hexdigest()
            print(f"{place}  {place.stat().st_size / 1e6:.1f} MB  sha256 {digest}")
        print(f"handler {HANDLER}; TEGATA_ROTATION in its environment says what to rotate: {PAGE}")
    except BuildError as error:
        print(f"make lambda: {error}", file=sys.stderr)
        return 1
    return 0


def build(target: Target, output: Path, beside: dict[str, bytes] | None = None) -> Path:
    """Return the zip for this target, with the files `beside` at its top. Raises `BuildError`."""
    wheels = _wheels(target, output / "wheels")
    place = output / f"tegata-rotation-{target.architecture}-python{target.python}.zip"
    write_zip(place, gather(wheels, PACKAGE, beside or {}))
    if place.stat().st_size > MOST_MEGABYTES * 1_000_000:
        raise BuildError(f"{place.name} has more than {MOST_MEGABYTES} MB")
    return place


def _certificates(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BuildError(f"{path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN CERTIFICATE-----" not in content or b"PRIVATE KEY" in content:
        raise BuildError(f"{path} is no file of certificates in PEM form alone")
    return content


def _wheels(target: Target, store: Path) -> list[Path]:
    """Download the wheels of this target, unless those of these very pins are there."""
    wanted = pinned_for(target, PINS)
    name = hashlib.sha256(f"{target}{wanted}".encode()).hexdigest()[:16]
    folder = store / f"{target.architecture}-{target.python}-{name}"
    if not folder.exists():
        store.mkdir(parents=True, exist_ok=True)
        # Into a folder of its own first: another build may be at it, and a broken download must not be taken for good.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=store) as unfinished:
            _download(target, wanted, Path(unfinished, "wheels"))
            with suppress(OSError):
                Path(unfinished, "wheels").rename(folder)
    return sorted(folder.glob("*.whl"))


def _download(target: Target, wanted: str, folder: Path) -> None:
    folder.mkdir()
    pins = folder / "pins.txt"
    pins.write_text(wanted)
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), "--no-deps", "--require-hashes", "--only-binary", ":all:", *platforms]
    command += ["--implementation", "cp", "--python-version", target.python, "-r", str(pins)]
    if subprocess.run(command, check=False, cwd=ROOT, stdin=subprocess.DEVNULL).returncode != 0:
        raise BuildError("the wheels could not be downloaded, pip's own words are above")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
