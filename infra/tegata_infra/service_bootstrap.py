"""The task that makes Tegata's roles at the database: the only one that logs in as its administrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager

from tegata_infra.data import DataStack
from tegata_infra.secrets import SecretsStack

WITH_TOKENS = ("db", "bootstrap", "--for", "rds")
_WITH_PASSWORDS = "tegata db bootstrap --alternating --passwords -"


@dataclass(frozen=True, slots=True)
class Start:
    """How the task starts. `secrets` are read by ECS, and by no other task's role."""

    entry_point: Sequence[str]
    command: Sequence[str]
    secrets: Mapping[str, ecs.Secret]


def prepare(role: iam.IRole, data: DataStack, secrets: SecretsStack) -> Start:
    """Return how the bootstrap starts, and let `role`, with which ECS starts it, read what it is given.

    Where Tegata's logins have passwords, those that are in their secrets now are given to the logins that are named
    there: any number of runs leave what rotations have made.
    """
    held = {"PGPASSWORD": (data.administrator, "password")}
    let_decrypt(role, "DecryptAdministrator", [data.administrator], data.database_key.key_arn)
    rotator = secrets.seed.rotator_secret
    if rotator is None:
        return Start(("tegata",), WITH_TOKENS, _import(role, held))
    logins = [*secrets.pairs.values(), rotator]
    let_decrypt(role, "DecryptLogins", logins, secrets.key.key_arn)
    for number, secret in enumerate(logins, start=1):
        held |= {f"LOGIN_{number}": (secret, "username"), f"PASSWORD_{number}": (secret, "password")}
    # printf is the shell's own: nothing stands on a command line that others see.
    lines = " ".join(f'"$LOGIN_{number}" "$PASSWORD_{number}"' for number in range(1, len(logins) + 1))
    script = f"printf '%s=%s\\n' {lines} | {_WITH_PASSWORDS}"
    return Start(("/bin/sh", "-c"), (script,), _import(role, held))


def let_decrypt(role: iam.IRole, sid: str, secrets: Sequence[secretsmanager.ISecret], key_arn: str) -> None:
    """Let ECS, as `role`, decrypt secrets of one key, which is in another stack."""
    stack = cdk.Stack.of(role)
    role.add_to_principal_policy(
        iam.PolicyStatement(
            sid=sid,
            actions=["kms:Decrypt"],
            resources=[key_arn],
            conditions={
                "StringEquals": {
                    "kms:ViaService": f"secretsmanager.{stack.region}.{stack.url_suffix}",
                    "kms:EncryptionContext:SecretARN": [secret.secret_arn for secret in secrets],
                }
            },
        )
    )


def _import(role: iam.IRole, held: Mapping[str, tuple[secretsmanager.ISecret, str]]) -> dict[str, ecs.Secret]:
    """Return secrets as ones without their keys: whose policies would else come to depend on this stack."""
    found = {}
    for name, (secret, member) in held.items():
        # Two members of one secret are read by two variables, so each has a construct of its own.
        here = secretsmanager.Secret.from_secret_complete_arn(role, f"Given-{name}", secret.secret_arn)
        found[name] = ecs.Secret.from_secrets_manager(here, member)
    return found
