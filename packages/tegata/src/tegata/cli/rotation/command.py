"""`tegata secrets create`, `rotate`, `status` and `rollback`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tegata.cli.failures import OK, USAGE, CommandFailure
from tegata.cli.rotation.creating import create, without_rest
from tegata.cli.rotation.documents import RotatedSecret
from tegata.cli.rotation.known import known_secret, known_secrets
from tegata.cli.rotation.running import Result, attempt, cure_of_absence, due, is_misconfigured, roll_back, rotate_due
from tegata.cli.rotation.stores import Stores
from tegata.cli.rotation.telling import (
    Standing,
    document_of,
    document_of_standing,
    exit_code,
    exit_code_of_standings,
    lines_of,
    lines_of_standing,
)
from tegata.settings import Settings
from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.errors import CredentialError, SecretNotFound
from tegata_credentials.observer import WrittenAudit
from tegata_credentials.rotation.driver import Patience
from tegata_credentials.rotation.plans import AlternatingUsersPlan
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.setup import setup_sql


def run_rotate(name: str | None, *, wait: float, anew: bool, as_document: bool) -> int:
    """Rotate one secret, or without a name all that are due. Status: see `telling`."""
    settings = Settings.from_environment(os.environ)
    with _stores(settings, Patience(longest_wait=wait)) as stores:
        if name is None:
            results = list(rotate_due(stores, known_secrets(settings), time.time, threading.Event()))
        else:
            secret = known_secret(settings, name)
            results = [attempt(stores, secret, lambda driver, id_: driver.rotate(id_, anew=anew))]
    return _end(results, as_document=as_document)


def run_create(name: str, *, at: str | None) -> int:
    """Make a secret in files and rotate it for the first time."""
    settings = Settings.from_environment(os.environ)
    secret = known_secret(settings, name)
    with _stores(settings) as stores:
        stores.observer.audit("secret.created", secret=str(secret.reference), version=create(secret, at))
        print(f"{name}: made in {secret.reference.name}", flush=True)
        results = [attempt(stores, without_rest(secret), lambda driver, id_: driver.rotate(id_))]
    return _end(results, as_document=False)


def run_setup(name: str, rotator: str) -> int:
    """Print the SQL that a pair of logins needs once."""
    plan = known_secret(Settings.from_environment(os.environ), name).plan
    if not isinstance(plan, AlternatingUsersPlan):
        raise CommandFailure(f"{name} is no pair of logins: nothing is to be set up in a database", USAGE)
    pair = LoginPair.of(plan.group) if plan.pair is None else LoginPair(plan.group, *plan.pair)
    sys.stdout.write(setup_sql(pair, rotator))
    return OK


def run_rollback(name: str, *, yes: bool, as_document: bool) -> int:
    """Make the previous value current again."""
    settings = Settings.from_environment(os.environ)
    secret = known_secret(settings, name)
    if not yes:
        _confirm(secret)
    with _stores(settings) as stores:
        results = [roll_back(stores, secret)]
    return _end(results, as_document=as_document)


def run_status(name: str | None, *, probe: bool, as_document: bool) -> int:
    """Tell how one secret stands, or all. Status 1 if somebody should look."""
    settings = Settings.from_environment(os.environ)
    secrets = known_secrets(settings) if name is None else (known_secret(settings, name),)
    with _stores(settings) as stores:
        standings = [_standing(stores, secret, probe=probe) for secret in secrets]
    now = time.time()
    if as_document:
        print(json.dumps({"secrets": [document_of_standing(standing, now) for standing in standings]}))
    else:
        _print_blocks(lines_of_standing(standing, now) for standing in standings)
    return exit_code_of_standings(standings, now)


def _standing(stores: Stores, secret: RotatedSecret, *, probe: bool) -> Standing:
    try:
        driver, id_ = stores.driver_of(secret)
        return Standing(secret, due(stores, secret), driver.status(id_, probe=probe))
    except CredentialError as error:
        cure = cure_of_absence(secret) if isinstance(error, SecretNotFound) else ""
        return Standing(secret, problem=str(error), cure=cure, is_misconfigured=is_misconfigured(error))


def _confirm(secret: RotatedSecret) -> None:
    if not sys.stdin.isatty():
        raise CommandFailure("nobody is there to ask: repeat it with --yes", USAGE)
    print(f"The previous value of {secret.name} ({secret.reference}) becomes current again.", file=sys.stderr)
    print(f"Type {secret.name} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != secret.name:
        raise CommandFailure("nothing was changed", USAGE)


@contextmanager
def _stores(settings: Settings, patience: Patience | None = None) -> Iterator[Stores]:
    # Not among the results, which programs read from standard output. A command sets up no log, so that what would go
    # there is written as well: a line for each access and change.
    figures = EmbeddedMetrics(sys.stderr) if settings.embedded_metrics else None
    observer = figures or WrittenAudit(sys.stderr)
    stores = Stores(certificates=settings.rotation_ca, observer=observer, patience=patience)
    try:
        yield stores
    finally:
        stores.close()
        if figures is not None:
            figures.flush()


def _end(results: Sequence[Result], *, as_document: bool) -> int:
    if as_document:
        documents: list[Mapping[str, object]] = [document_of(result) for result in results]
        print(json.dumps({"secrets": documents}))
    else:
        _print_blocks(lines_of(result) for result in results)
    return exit_code(results)


def _print_blocks(blocks: Iterable[Iterable[str]]) -> None:
    empty = True
    for block in blocks:
        print("\n".join(block))
        empty = False
    if empty:
        print("nothing is rotated here: set TEGATA_ROTATION_ADMINISTRATOR or TEGATA_ROTATION_FILE")
