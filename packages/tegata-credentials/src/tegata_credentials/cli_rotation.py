"""`tegata-credentials pair` and `policy`: what has to be set up before secrets can rotate. Nothing is connected to."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tegata_credentials.cli_secrets import OK, USAGE
from tegata_credentials.errors import CredentialError


def add_commands(commands: Any) -> None:
    """Add both commands to the parser."""
    pair = commands.add_parser(
        "pair",
        help="print the SQL that makes two logins which take turns, and the role that may set their passwords",
        description="Prints SQL to read and to run by an administrator; it may be run again. It holds no password: of "
        "the rotator's only the verifier that PostgreSQL keeps, the two logins begin without one.",
        allow_abbrev=False,
    )
    pair.add_argument("--group", required=True, help="the role that owns everything; GROUP_a and GROUP_b log in")
    pair.add_argument("--logins", nargs=2, metavar=("A", "B"), help="other names for the two logins")
    pair.add_argument("--rotator", help="the role that may set the two passwords (GROUP_rotator)")
    pair.add_argument(
        "--rotator-password-from", metavar="FILE", help="a file with the rotator's new password; - is standard input"
    )
    policy = commands.add_parser(
        "policy",
        help="print the least rights on AWS that reading or rotating secrets needs",
        description="Prints an IAM policy document.",
        allow_abbrev=False,
    )
    policy.add_argument("what", choices=("reader", "rotation"), help="for a service, or for a rotation function")
    policy.add_argument("secret", metavar="SECRET", nargs="+", help="names or ARNs; rotation takes one")
    policy.add_argument("--region", required=True, help="where the secrets are, e.g. eu-west-1")
    policy.add_argument("--account", required=True, help="the number of the account")
    policy.add_argument("--partition", default="aws", help="aws, aws-cn, aws-us-gov")
    policy.add_argument("--kms-key", metavar="ARN", help="the key that they are encrypted with, unless AWS's own")
    policy.add_argument("--administrator", metavar="SECRET", help="rotation: the secret that may set passwords")
    policy.add_argument("--function", metavar="ARN", help="rotation: only as this function")


def print_pair(chosen: argparse.Namespace) -> int:
    """Print the SQL of a pair of logins."""
    from tegata_credentials.rotation.postgres.pair import LoginPair, identifier
    from tegata_credentials.rotation.postgres.scram import scram_verifier
    from tegata_credentials.rotation.postgres.setup import setup_sql
    from tegata_credentials.rotation.role_names import check_role_name

    rotator = chosen.rotator or f"{chosen.group}_rotator"
    try:
        check_role_name("--group", chosen.group)
        for login in chosen.logins or ():
            check_role_name("--logins", login)
        pair = LoginPair(chosen.group, *chosen.logins) if chosen.logins else LoginPair.of(chosen.group)
        sql = setup_sql(pair, rotator)
        if chosen.rotator_password_from is not None:
            verifier = scram_verifier(_read(chosen.rotator_password_from))
            sql += f"alter role {identifier(rotator)} password '{verifier}';\n"
    except (CredentialError, OSError) as error:
        print(f"tegata-credentials pair: {error}", file=sys.stderr)
        return USAGE
    print(sql, end="")  # all of it or nothing: what is sent into a file may be run without a look at the status
    return OK


def print_policy(chosen: argparse.Namespace) -> int:
    """Print an IAM policy document."""
    from tegata_credentials.policies import Place, reader_policy, rotation_policy

    try:
        place = Place(chosen.region, chosen.account, chosen.partition)
        if chosen.what == "reader":
            document = reader_policy(chosen.secret, place=place, kms_key=chosen.kms_key)
        elif len(chosen.secret) > 1:
            raise ValueError("rotation is for one secret: give each its own statement, or each its own function")
        else:
            rights = {"administrator": chosen.administrator, "kms_key": chosen.kms_key, "function_arn": chosen.function}
            document = rotation_policy(chosen.secret[0], place=place, **rights)
    except ValueError as error:
        print(f"tegata-credentials policy: {error}", file=sys.stderr)
        return USAGE
    print(json.dumps(document, indent=2))
    return OK


def _read(path: str) -> str:
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="ascii", errors="replace")
    return text.removesuffix("\n").removesuffix("\r")
