"""Every secret that is rotated here: Tegata's own logins, without a word, and what TEGATA_ROTATION_FILE names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from tegata.cli.failures import USAGE, CommandFailure
from tegata.cli.rotation.documents import RotatedSecret, check_reference, read_rotated
from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, MIGRATOR
from tegata.settings import PREFIX, Settings
from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.plans import AlternatingUsersPlan
from tegata_credentials.sources.references import Reference

# The name, the setting that says where it is kept, the role it becomes, and what that role must be able to do.
OWN = (
    ("database", "database_secret", APPLICATION, "select 1 from tegata.client where false"),
    ("maintenance-database", "maintenance_database_secret", MAINTENANCE, "select 1 from tegata.client where false"),
    ("migration-database", "migration_database_secret", MIGRATOR, "select 1"),
)


def known_secrets(settings: Settings) -> tuple[RotatedSecret, ...]:
    """Return them all. Raises `CommandFailure`, `InvalidDocuments`."""
    written = () if settings.rotation_file is None else read_rotated(settings.rotation_file)
    spoken_for = {each.reference for each in written}
    own = [each for each in _own(settings) if each.reference not in spoken_for]
    twice = {each.name for each in own} & {each.name for each in written}
    if twice:
        raise CommandFailure(
            f"{settings.rotation_file}: {', '.join(sorted(twice))} is the name of one of Tegata's own logins: choose "
            "another",
            USAGE,
        )
    return (*own, *written)


def known_secret(settings: Settings, name: str) -> RotatedSecret:
    """Return one by its name. Raises `CommandFailure`, which tells the names that there are."""
    every = known_secrets(settings)
    for each in every:
        if each.name == name:
            return each
    if not every:
        raise CommandFailure(
            "nothing is rotated here: set TEGATA_ROTATION_ADMINISTRATOR for Tegata's own logins, or "
            "TEGATA_ROTATION_FILE for other secrets",
            USAGE,
        )
    raise CommandFailure(f"no secret {name} is rotated here; there are {', '.join(each.name for each in every)}", USAGE)


def _own(settings: Settings) -> Iterator[RotatedSecret]:
    administrator = settings.rotation_administrator
    if administrator is None:
        return
    _parsed("rotation_administrator", administrator, Reference.parse)
    for name, field, role, canary in OWN:
        text = getattr(settings, field)
        if text is None:
            continue
        reference = _parsed(field, text, check_reference)
        plan = AlternatingUsersPlan(
            secret=text,
            strategy="alternating-users",
            group=role,
            pair=None,
            administrator=administrator,
            canary=canary,
            rest_seconds=0.0,
            every=timedelta(days=settings.rotation_days),
        )
        yield RotatedSecret(name, plan, reference, by_age=settings.rotation_days > 0)


def _parsed(field: str, text: str, parse: Callable[[str], Reference]) -> Reference:
    try:
        return parse(text)
    except CredentialError as error:
        raise CommandFailure(f"{PREFIX}{field.upper()}: {error}", USAGE) from None
