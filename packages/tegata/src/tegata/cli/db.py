"""`tegata db bootstrap`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from uuid import UUID

from tegata.cli.failures import FOUND, OK, USAGE, CommandFailure
from tegata.cli.surroundings import Surroundings
from tegata.crypto.digests import new_secret
from tegata.postgres.bootstrap import (
    APPLICATION,
    EVERYBODYS_DATABASE,
    FIRST_LOGINS,
    LOGINS,
    MAINTENANCE,
    MIGRATOR,
    Plan,
    Provider,
    bootstrap,
    bootstrap_script,
    create_database,
)
from tegata.postgres.bootstrap_pairs import LOGIN_PAIRS, ROTATOR

_ROLE_OF = {"app": APPLICATION, "maintenance": MAINTENANCE, "migrator": MIGRATOR}
_LEAST_PASSWORD = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options as they were typed."""

    provider: str = "plain"
    identities: Mapping[str, str | None] | None = None
    passwords: str | None = None
    generate_passwords: bool = False
    alternating: bool = False


def run(wanted: Wanted, *, only_print: bool, create: bool) -> int:
    """Set the database up, or print the SQL that would. Status 1 if something is left for others to do."""
    if only_print and (wanted.passwords or wanted.generate_passwords):
        raise CommandFailure("--print knows no passwords: set them with psql's \\password afterwards", USAGE)
    provider = _provider(wanted)
    if wanted.alternating and provider != "plain":
        raise CommandFailure(f"--alternating is for passwords, which --for {provider} is there to need none of", USAGE)
    object_ids = _object_ids(wanted, provider)
    if only_print:
        name = Surroundings.read().administration().database if create else None
        sys.stdout.write(bootstrap_script(_plan(wanted, provider, object_ids), database=name, create=create))
        return OK
    plan = _plan(wanted, provider, object_ids)
    target = Surroundings.read().administration()
    if create and create_database(target.in_database(EVERYBODYS_DATABASE), target.database):
        print(f"changed: database {target.database} made")
    outcome = bootstrap(target, plan)
    for sentence in outcome.changed:
        print(f"changed: {sentence}")
    if wanted.generate_passwords:
        for role, password in plan.passwords.items():
            print(f"{role}={password}")
    for sentence in outcome.left:
        print(f"left: {sentence}", file=sys.stderr)
    if not outcome.changed and not outcome.left:
        print("roles and schema are as they should be")
    return FOUND if outcome.left else OK


def _plan(wanted: Wanted, provider: Provider, object_ids: Mapping[str, UUID]) -> Plan:
    return Plan(provider, object_ids, _passwords(wanted, provider), alternating=wanted.alternating)


def _provider(wanted: Wanted) -> Provider:
    for known in get_args(Provider):
        if wanted.provider == known:
            provider: Provider = known
            return provider
    raise CommandFailure(f"--for {wanted.provider}: choose one of {', '.join(get_args(Provider))}", USAGE)


def _object_ids(wanted: Wanted, provider: Provider) -> dict[str, UUID]:
    given = {name: text for name, text in (wanted.identities or {}).items() if text}
    if given and provider != "azure":
        raise CommandFailure("object ids are for --for azure", USAGE)
    if provider == "azure" and not given:
        raise CommandFailure(
            "--for azure needs --app-object-id, --maintenance-object-id or --migrator-object-id", USAGE
        )
    found = {}
    for name, text in given.items():
        try:
            found[_ROLE_OF[name]] = UUID(text)
        except ValueError:
            message = f"--{name}-object-id is no UUID: take the object (principal) id, not the name or the client id"
            raise CommandFailure(message, USAGE) from None
    if APPLICATION in found and list(found.values()).count(found[APPLICATION]) > 1:
        raise CommandFailure("the server needs an identity of its own: with another role's it could do more", USAGE)
    return found


def _passwords(wanted: Wanted, provider: Provider) -> dict[str, str]:
    if not (wanted.passwords or wanted.generate_passwords):
        return {}
    if provider != "plain":
        raise CommandFailure(f"--for {provider} is there to need no passwords", USAGE)
    if wanted.passwords and wanted.generate_passwords:
        raise CommandFailure("--passwords gives them, --generate-passwords makes them: choose one", USAGE)
    if wanted.generate_passwords:
        return {role: new_secret() for role in (FIRST_LOGINS if wanted.alternating else LOGINS)}
    assert wanted.passwords is not None
    logins = _logins(wanted)
    text = sys.stdin.read() if wanted.passwords == "-" else Path(wanted.passwords).read_text(encoding="utf-8")
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        role, separator, password = line.partition("=")
        if not line.strip():
            continue
        if not separator or role.strip() not in logins or len(password) < _LEAST_PASSWORD:
            # Never the line itself: it may be a password.
            names = ", ".join(logins)
            wish = f"ROLE=PASSWORD, the role one of {names}, the password at least {_LEAST_PASSWORD} characters"
            raise CommandFailure(f"line {number} of the passwords is not of the form {wish}", USAGE)
        found[role.strip()] = password
    if not found:
        raise CommandFailure("there is no password in --passwords", USAGE)
    return found


def _logins(wanted: Wanted) -> tuple[str, ...]:
    """Return the roles that may be given a password."""
    if not wanted.alternating:
        return LOGINS
    return (*(login for pair in LOGIN_PAIRS.values() for login in pair), ROTATOR)
