"""`tegata-credentials get` and `watch`: the value of a secret for a script, and a line at each new version.

A value goes to standard output and nowhere else, and to a screen only with `--show`: scripts and pipes want it, and
what a screen shows stays in its scrollback. `watch` never shows one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from tegata_credentials.errors import CredentialError, SecretError
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.sources.references import Reference, ReferencedSecrets
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS, SecretVersion

OK, FOUND, USAGE = 0, 1, 2
_TO_SCREEN = "this would show the value on your screen: send it to a file or program, or give --show"


def add_commands(commands: Any) -> None:
    """Describe both to the parser of the command line."""
    get = commands.add_parser(
        "get",
        help="print a secret to a file, a pipe or, with --show, the screen",
        description="Reads one secret from where it is kept: no cache stands between. Credentials of AWS come from "
        "where its SDK looks.",
        allow_abbrev=False,
    )
    _add_name(get)
    get.add_argument("--key", help="only this key of the JSON object")
    get.add_argument(
        "--stage", choices=(CURRENT, PENDING, PREVIOUS), default=CURRENT, help=f"which version ({CURRENT})"
    )
    get.add_argument("--version-only", action="store_true", help="not the value, only which version it is")
    get.add_argument("--json", action="store_true", help="an object with secret, version, stages, arn and value")
    get.add_argument("--no-newline", "-n", action="store_true", help="without a line break at the end")
    get.add_argument("--show", action="store_true", help="also if standard output is a screen")
    watch = commands.add_parser(
        "watch",
        help="print a line each time a secret has a new version, never the value",
        description="Reads the secret again and again until it is told to end (SIGTERM, Ctrl-C). That it cannot be "
        "read at the moment is said on standard error, once.",
        allow_abbrev=False,
    )
    _add_name(watch)
    watch.add_argument("--every", type=_seconds, default=60.0, metavar="SECONDS", help="how often to look (60)")
    watch.add_argument("--exec", metavar="COMMAND", help="run this at each change, not for the version found first")


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("secret", metavar="NAME|REFERENCE", help="awssm:NAME#KEY, file:/path, env:NAME, a name or ARN")
    parser.add_argument("--region", help="region of AWS Secrets Manager, if not AWS_REGION or the profile's")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        seconds = float(text)
        if 0.1 <= seconds <= 86_400:
            return seconds
    raise argparse.ArgumentTypeError("give seconds, 0.1 to 86400")


def get(chosen: argparse.Namespace) -> int:
    """Print one secret."""
    if not chosen.version_only and not chosen.show and sys.stdout.isatty():
        return _complain("get", _TO_SCREEN, USAGE)
    secrets = _sources(chosen)
    try:
        reference = secrets.parse_name(chosen.secret)
        if chosen.key is not None:
            if reference.key is not None:
                return _complain("get", "the key stands in the reference already: leave --key out", USAGE)
            reference = replace(reference, key=chosen.key)
        found = secrets.read(reference, stage=chosen.stage)
    except CredentialError as error:
        status = FOUND if isinstance(error, SecretError) else USAGE
        return _complain("get", str(error) + _meant(chosen.secret), status)
    finally:
        secrets.close()
    text = _as_json(found, chosen.version_only) if chosen.json else found.version if chosen.version_only else found.text
    return OK if _write("get", text + ("" if chosen.no_newline else "\n")) else FOUND


def watch(chosen: argparse.Namespace) -> int:
    """Print a line at each new version until a signal says that it is enough."""
    secrets = _sources(chosen)
    try:
        watcher = _Watcher(secrets, secrets.parse_name(chosen.secret), shlex.split(chosen.exec or ""))
    except ValueError:
        return _complain("watch", "--exec is no command: a quotation mark is missing", USAGE)
    except CredentialError as error:
        return _complain("watch", str(error) + _meant(chosen.secret), USAGE)
    before = {number: signal.signal(number, watcher.end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with suppress(_Ended):
            while watcher.look():
                time.sleep(chosen.every)
            return FOUND
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        secrets.close()
    return OK


class _Ended(BaseException):
    """A signal has come; not an `Exception`, so that nothing on the way takes it for a failed read."""


@dataclass(slots=True)
class _Watcher:
    secrets: ReferencedSecrets
    reference: Reference
    command: list[str]
    version: str | None = None
    complaint: str | None = None
    is_busy: bool = False
    is_over: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def end(self, *_signal: object) -> None:
        """End at once, unless the command runs: it is let finish."""
        self.is_over = True
        if not self.is_busy:
            self._end()

    def look(self) -> bool:
        """Read once, and say what is new. Return whether there is anybody to say it to."""
        try:
            found = self.secrets.read(self.reference)
        except SecretError as error:
            if str(error) != self.complaint:
                self.complaint = str(error)
                _complain("watch", self.complaint + _meant(str(self.reference)), FOUND)
            return True
        self.complaint = None
        if found.version == self.version:
            return True
        is_change, self.version = self.version is not None, found.version
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if not _write("watch", f"{moment} {self.reference} version {found.version}\n"):
            return False
        if is_change and self.command:
            self._run(found.version)
        return True

    def _run(self, version: str) -> None:
        told = {"TEGATA_SECRET": str(self.reference), "TEGATA_SECRET_VERSION": version}
        self.is_busy = True
        try:
            ended = subprocess.run(self.command, env={**self.environ, **told}, check=False)  # noqa: S603 - the operator's
            if ended.returncode:
                _complain("watch", f"the command has ended with status {ended.returncode}", FOUND)
        except OSError as error:
            _complain("watch", f"the command cannot be run: {error.strerror}", FOUND)
        finally:
            self.is_busy = False
        if self.is_over:
            self._end()

    def _end(self) -> NoReturn:
        raise _Ended


def _sources(chosen: argparse.Namespace) -> ReferencedSecrets:
    return ReferencedSecrets({"awssm": AwsSecretsManager(region=chosen.region)})


def _meant(text: str) -> str:
    """Return what somebody has probably meant who was understood as something else."""
    path, mark, key = text.removeprefix("file:").removeprefix("awssm:").partition("#")
    if not os.path.isfile(path):
        return ""
    if not (text.startswith("file:") and os.path.isabs(path)):
        return f"; if the file is meant: file:{os.path.abspath(path)}" + (f" --key {key}" if mark else "")
    return f"; a key of a file is named apart: file:{path} --key {key}" if mark else ""


def _as_json(found: SecretVersion, is_without_value: bool) -> str:
    shown: dict[str, Any] = {"secret": found.secret, "version": found.version, "stages": sorted(found.stages)}
    shown |= {} if found.arn is None else {"arn": found.arn}
    return json.dumps(shown if is_without_value else {**shown, "value": found.text})


def _write(command: str, text: str) -> bool:
    """Write to standard output, whatever the terminal's encoding; say so if that fails."""
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except OSError as error:
        _complain(command, f"standard output cannot be written: {error.strerror}", FOUND)
        # What is left in the buffer would be tried again, and complained of, when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _complain(command: str, says: str, status: int) -> int:
    visible = "".join(letter if letter.isprintable() else "?" for letter in says)
    print(f"tegata-credentials {command}: {visible}", file=sys.stderr, flush=True)
    return status
