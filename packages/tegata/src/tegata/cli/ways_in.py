"""The ways into the database that the settings describe, with the source of each login's password."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tegata.cli.failures import USAGE, CommandFailure
from tegata.postgres.pool import PoolLimits
from tegata.postgres.secret_logins import ProcessSecrets, SecretPasswords
from tegata.postgres.target import ConnectionTarget, Passwords
from tegata.settings import PREFIX, Settings, secret_error, secret_of, way_problem
from tegata.telemetry.secrets import SecretFigures
from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.errors import SecretError

if TYPE_CHECKING:
    from tegata.postgres.passwords import TokenMethod
    from tegata_credentials.observer import Observer

# After so long a connection that nobody used is asked whether it lives.
_CHECK_AFTER_SECONDS = 30.0


def passwords_of(
    settings: Settings, name: str = "database_url", secrets: ProcessSecrets | None = None
) -> Passwords | None:
    """Return where logins by the field `name` get their tokens or passwords; None if these stand in the URLs.

    `secrets` is what the process reads secrets through; without it these logins have a service of their own.
    """
    method = settings.database_auth
    if method == "secret":
        reference = secret_of(settings, name)
        return None if reference is None else (secrets or process_secrets(settings)).logins(reference)
    return None if method == "password" else _issued(settings, method)


def process_secrets(
    settings: Settings, environ: Mapping[str, str] = os.environ, *, observer: Observer | None = None
) -> ProcessSecrets:
    """Return what a process reads secrets through; nothing is opened yet."""
    return ProcessSecrets(
        observer,
        environ=environ,
        allow_unverified_tls=settings.allow_unverified_database_tls,
        cache_seconds=settings.secret_cache_seconds,
        wait_seconds=settings.secret_wait_seconds,
    )


def secret_figures(settings: Settings) -> SecretFigures:
    """Return what a process tells of its secrets with, and where."""
    return SecretFigures(EmbeddedMetrics() if settings.embedded_metrics else None)


def _issued(settings: Settings, method: TokenMethod) -> Passwords:
    # Loaded where it is used: most processes talk to no cloud.
    from tegata.postgres.passwords import Identity, IssuedPasswords

    identity = Identity(
        settings.database_azure_client_id,
        settings.database_aws_region,
        settings.database_aws_endpoint,
        settings.database_azure_default_credential,
    )
    return IssuedPasswords(method, identity, allow_unverified_tls=settings.allow_unverified_database_tls)


def target_of(
    settings: Settings, name: str, passwords: Passwords | None = None, secrets: ProcessSecrets | None = None
) -> ConnectionTarget:
    """Return the way in that the field `name` describes. Raises `CommandFailure`."""
    url = getattr(settings, name)
    try:
        target = ConnectionTarget.from_url(url.get_secret_value())
    except ValueError as error:
        raise CommandFailure(f"{PREFIX}{name.upper()}: {error}", USAGE) from None
    # Only an administrator's URL may hold a password beside tokens, and then the password is meant.
    if target.password is not None:
        return target
    asked = target.asking(passwords or passwords_of(settings, name, secrets))
    # Whom a secret lets in, it says itself.
    return replace(asked, user="") if asked.auth_method == "secret" else asked


def checked_target_of(settings: Settings, name: str, secrets: ProcessSecrets | None = None) -> ConnectionTarget:
    """The same for operators' commands, which refuse what `tegata serve` refuses."""
    problem = way_problem(settings, name)
    if problem is not None:
        raise CommandFailure(problem, USAGE)
    return target_of(settings, name, secrets=secrets)


def serving_target(settings: Settings, secrets: ProcessSecrets | None = None) -> ConnectionTarget:
    """Return the server's way in, by way of a pooler if there is one. Raises `CommandFailure`."""
    target = target_of(settings, "database_url", secrets=secrets)
    return target.through_pooler() if settings.database_transaction_pooler else target


async def check_secret_of(settings: Settings, name: str, target: ConnectionTarget) -> None:
    """Read the secret that a login comes from, so that what is wrong with it is told as what is wrong with a setting.

    Raises `SettingsError`.
    """
    if isinstance(target.passwords, SecretPasswords):
        try:
            await target.passwords.check()
        except SecretError as error:
            await target.passwords.close()
            raise secret_error(settings, name, error) from None


def listening_target(settings: Settings, serving: ConnectionTarget) -> ConnectionTarget:
    """Return the way in for the one session that hears of changes: never by way of a pooler."""
    if settings.database_listen_url is not None:
        return target_of(settings, "database_listen_url", serving.passwords)
    return replace(serving, transaction_pooler=False)


def serving_limits(settings: Settings) -> PoolLimits:
    """Return the bounds of one worker's pool."""
    return PoolLimits(
        size=settings.database_pool_size + settings.database_pool_overflow,
        wait_seconds=settings.database_pool_wait_seconds,
        statement_seconds=settings.database_statement_timeout_seconds,
        age_seconds=settings.database_pool_recycle_seconds,
        waiting=settings.database_pool_queue,
        check_after_seconds=_CHECK_AFTER_SECONDS if settings.database_pool_pre_ping else None,
    )
