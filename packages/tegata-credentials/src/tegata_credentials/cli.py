"""The command `tegata-credentials`: secrets, what is wrong with a login or a secret, and the SQL that sets logins up.

Exit status: 0 done, 1 something was found or a secret cannot be had, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from tegata_credentials import cli_rotation, cli_secrets
from tegata_credentials.cli_secrets import FOUND, OK, USAGE
from tegata_credentials.grants import GrantsError, build_grants, format_script


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    chosen = build_parser().parse_args(arguments)
    return _COMMANDS[chosen.command](chosen)


def _doctor(chosen: argparse.Namespace) -> int:
    from tegata_credentials.doctor import examine, examine_secrets

    # The SDKs warn of what the report says anyway, and would write it between its lines.
    logging.getLogger().addHandler(logging.NullHandler())
    if chosen.secret:
        report = examine_secrets(chosen.secret, shape=chosen.shape)
    else:
        report = asyncio.run(examine(os.environ, clock_url=chosen.clock_url))
    print(report.json() if chosen.json else report.text())
    return OK if report.is_healthy else FOUND


def _grants(chosen: argparse.Namespace) -> int:
    try:
        steps = build_grants(
            chosen.cloud,
            role=chosen.role,
            database=chosen.database,
            object_id=chosen.object_id,
            identity=chosen.identity,
            principal_type=chosen.type,
            schema=chosen.schema,
            owner=chosen.owner,
            is_existing=chosen.existing_role,
        )
    except GrantsError as error:
        print(f"tegata-credentials grants: {error}", file=sys.stderr)
        return USAGE
    if chosen.json:
        print(json.dumps([dataclasses.asdict(step) for step in steps], indent=2))
    else:
        print(format_script(steps), end="")
    return OK


def build_parser() -> argparse.ArgumentParser:
    """Build what reads the command line."""
    parser = argparse.ArgumentParser(
        prog="tegata-credentials",
        description="Secrets that rotate, and PostgreSQL without passwords on Azure and AWS.",
        epilog="Exit status: 0 done, 1 something was found or a secret cannot be had, 2 wrong usage.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="say in plain words what is wrong with the login or with secrets, and the cure",
        description="Reads DATABASE_URL, DATABASE_AUTH and the rest from the environment, tries everything on the way "
        "to a login, and changes nothing. With --secret it tries everything on the way to these secrets instead. No "
        "token and no value is ever printed.",
        allow_abbrev=False,
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--clock-url", metavar="URL", help="a web address whose clock ours is compared with")
    doctor.add_argument("--secret", action="append", metavar="NAME|REFERENCE", help="a secret; may be given again")
    shapes = ("database", "jwt", "external-apis", "json")
    doctor.add_argument("--shape", choices=shapes, help="what the secrets should hold, if their names do not tell")
    cli_secrets.add_commands(commands)
    cli_rotation.add_commands(commands)
    _add_grants(
        commands.add_parser(
            "grants",
            help="print the SQL that lets an identity log in",
            description="Prints SQL to read and to run by an administrator; nothing is connected to.",
            allow_abbrev=False,
        )
    )
    return parser


def _add_grants(grants: argparse.ArgumentParser) -> None:
    grants.add_argument("--for", dest="cloud", choices=("azure", "aws"), required=True, help="the cloud")
    grants.add_argument("--role", required=True, help="the role in PostgreSQL, as in DATABASE_URL")
    grants.add_argument("--database", required=True, help="the database that the role uses")
    grants.add_argument("--object-id", help="Azure: object (principal) id of the identity, not its client id")
    grants.add_argument("--identity", help="display name of the identity in Entra, or name of the IAM role")
    grants.add_argument("--type", choices=("service", "user", "group"), default="service", help="Azure: what it is")
    grants.add_argument("--existing-role", action="store_true", help="only map a role that has its rights already")
    grants.add_argument("--schema", default="public", help="where the tables are (public)")
    grants.add_argument("--owner", help="the role that makes the tables, so that later ones are covered")
    grants.add_argument("--json", action="store_true", help="for programs")


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "doctor": _doctor,
    "get": cli_secrets.get,
    "grants": _grants,
    "pair": cli_rotation.print_pair,
    "policy": cli_rotation.print_policy,
    "watch": cli_secrets.watch,
}


if __name__ == "__main__":
    sys.exit(main())
