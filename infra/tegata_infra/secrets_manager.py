"""The three secrets of seed 004, with their key, their readers, their copies and their rotation (errata E01 to E17)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct, IDependable

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.policies import Held, outsiders_key_statement, outsiders_policy, reader_statements
from tegata_infra.rotation import Placement, Rotated, RotationFunction, find_code

PASSWORD_LENGTH = 43
SYMBOLS = "!\"#$%&'()*+,./:;<=>?@[\\]^`{|}~"
"""All punctuation that Secrets Manager generates but `-` and `_`: what is left is the alphabet of base64url, 64 signs.

43 of them are 258 bits: for passwords more than anybody tries, and as a key 32 bytes exactly (RFC 4648 §5), of which
the last sign's two lowest bits are not used. So every value that is generated is a master key of Tegata's.
"""


@dataclass(frozen=True, slots=True)
class Replica:
    """Where copies of the secrets are kept. `key` is the id, ARN or alias of a key there; None: that of AWS."""

    region: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two logins that take turns, GROUP_a and GROUP_b, of the NOLOGIN role `group`.

    `word` ends the name of their secret. A new password is tried with the statement `canary` before it is used.
    """

    word: str
    group: str
    canary: str = "select 1"


@dataclass(frozen=True, slots=True)
class DatabaseLogin:
    """As whom the database is used: as a pair, or with `iam` as its group itself, with tokens and without a password.

    New passwords are tried at the replica `reader_host` as well. Unless the pair `exists` in the database already,
    whoever makes it calls `rotate_pair` then.
    """

    pair: Pair = Pair("database", "app")
    dbname: str = "postgres"
    iam: bool = False
    reader_host: str | None = None
    exists: bool = True


@dataclass(frozen=True, slots=True)
class Periods:
    """How old values may become, in days."""

    login: int = 30
    keys: int = 90


class SecretsManagerConstruct(Construct):
    """`database_secret`, `jwt_secret` and `external_apis_secret` of one environment, and what belongs to them.

    Names are PROJECT-ENVIRONMENT-secret-database, -jwt and -external-apis. Without a database the first one says as
    whom to log in and not where, and is not rotated. With `enable_rotation` and without a `rotation` a function is made
    here; the stack then has the parameters CodeBucket and CodeKey, which say where its zip is. What rotates credentials
    of other services is yours: `external_apis_plan` is a plan of `generic-token`, whose provider is in the zip.

    Example::

        secrets = SecretsManagerConstruct(self, "Secrets", environment="dev", database_cluster=cluster)
        secrets.grant_read(task_role)
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: str,
        database_cluster: rds.IDatabaseCluster | rds.IDatabaseInstance | None = None,
        enable_rotation: bool = True,
        project: str = "tegata",
        login: DatabaseLogin | None = None,
        encryption_key: kms.IKey | None = None,
        replica: Replica | None = None,
        rotation: RotationFunction | None = None,
        periods: Periods | None = None,
        external_apis_plan: Mapping[str, object] | None = None,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.RETAIN,
    ) -> None:
        super().__init__(scope, construct_id)
        self.environment, self.project = environment, project
        self.login = login or DatabaseLogin()
        self._cluster, self._replica = database_cluster, replica
        self._periods, self._removal_policy = periods or Periods(), removal_policy
        self.encryption_key = encryption_key or self._add_key()
        self.attachment: IDependable | None = None
        self.database_secret = self._add_database_secret()
        self.jwt_secret = self.add_secret("jwt", "keys that sign tokens: a ring of key pairs", self._first_keys())
        self.external_apis_secret = self.add_secret("external-apis", "credentials of other services, added by hand", {})
        self._external_apis_plan = external_apis_plan
        if external_apis_plan is None or not enable_rotation:
            acknowledge(
                self.external_apis_secret,
                "what is in it belongs to services that give out keys in ways of their own; it begins empty",
                "AwsSolutions-SMG4",
            )
        self.rotator_secret = self._add_rotator() if self.has_pair else None
        self.rotation = rotation
        if enable_rotation:
            self.rotation = rotation or self._add_function()
            self._rotate(self.rotation)
        else:
            for secret in (self.database_secret, self.jwt_secret):
                acknowledge(secret, "rotation is switched off in this environment", "AwsSolutions-SMG4")

    @property
    def has_pair(self) -> bool:
        """Whether two logins with passwords take turns at the database."""
        return self._cluster is not None and not self.login.iam

    def name(self, word: str) -> str:
        """Return the name of a secret of this environment."""
        return f"{self.project}-{self.environment}-secret-{word}"

    def held(self, secret: secretsmanager.ISecret) -> Held:
        """Return a secret of this environment as policies name it."""
        return Held(secret.secret_arn, self.encryption_key.key_arn)

    def grant_read(self, grantee: iam.IRole, *secrets: secretsmanager.ISecret) -> iam.Policy:
        """Let a role read the three secrets, or those that are named, and nothing else."""
        chosen = secrets or (self.database_secret, self.jwt_secret, self.external_apis_secret)
        return grant_read(self, grantee, [self.held(secret) for secret in chosen])

    def add_secret(
        self, word: str, description: str, value: Mapping[str, object], generated: str | None = None
    ) -> secretsmanager.Secret:
        """Add one more secret of this environment: a JSON object, of which the member `generated` is made up by AWS.

        The value in a template is the first one only. A change of it there overwrites what rotations have made since:
        so it holds nothing that may change, and no reference.
        """
        return self.add_secret_named(self.name(word), description, value, generated)

    def add_secret_named(
        self, name: str, description: str, value: Mapping[str, object], generated: str | None = None
    ) -> secretsmanager.Secret:
        """The same with a name of its own."""
        text = json.dumps(value)
        first: dict[str, Any] = {"secret_string_value": cdk.SecretValue.unsafe_plain_text(text)}
        if generated is not None:
            first = {"generate_secret_string": _generator(text, generated)}
        secret = secretsmanager.Secret(
            self,
            _camel(name.rpartition("-secret-")[2]),
            secret_name=name,
            description=f"{self.project}, {self.environment}: {description}",
            encryption_key=self.encryption_key,
            removal_policy=self._removal_policy,
            **first,
        )
        if self._replica is not None:
            resource = secret.node.default_child
            assert isinstance(resource, secretsmanager.CfnSecret)
            copies = {"Region": self._replica.region} | (
                {} if self._replica.key is None else {"KmsKeyId": self._replica.key}
            )
            resource.add_property_override("ReplicaRegions", [copies])
        self.keep_outsiders_out(secret)
        return secret

    def keep_outsiders_out(self, secret: secretsmanager.ISecret) -> None:
        """Give a secret the policy that denies other environments and accounts; it stays while the secret does."""
        outlives = self._removal_policy is not cdk.RemovalPolicy.DESTROY
        policy = secretsmanager.CfnResourcePolicy(
            self,
            f"{secret.node.id}Outsiders",
            secret_id=secret.secret_arn,
            # What CloudFormation deletes with its stack it deletes at once.
            resource_policy=outsiders_policy(self.environment, cdk.Stack.of(self).account, outlives=outlives),
            block_public_policy=True,
        )
        policy.apply_removal_policy(self._removal_policy)

    def add_pair(self, pair: Pair) -> secretsmanager.Secret:
        """Add the secret of a pair; the first rotation gives GROUP_a its password, the next one GROUP_b."""
        reader = {} if self.login.reader_host is None else {"readerHost": self.login.reader_host}
        value = {"username": f"{pair.group}_b", "dbname": self.login.dbname, **reader}
        return self.add_secret(pair.word, f"login at the database as {pair.group}", value, "password")

    def rotate_pair(
        self,
        secret: secretsmanager.ISecret,
        pair: Pair,
        scope: Construct | None = None,
        after: Sequence[IDependable] = (),
    ) -> None:
        """Rotate the secret of a pair. `scope` and `after` as those of `RotationFunction.rotate`."""
        if self.rotation is None or self.rotator_secret is None:
            return
        plan = {
            "strategy": "alternating-users",
            "group": pair.group,
            "administrator": self.name("rotator"),
            "canary": pair.canary,
        }
        rotated = Rotated(
            self.name(pair.word),
            self.held(secret),
            plan,
            self._periods.login,
            administrator=self.held(self.rotator_secret),
        )
        if scope is not None:
            acknowledge(secret, "its schedule is in the stack that makes the logins", "AwsSolutions-SMG4")
        place = [] if self.attachment is None else [self.attachment]
        self.rotation.rotate(rotated, scope, [*place, *after])

    def _add_key(self) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            description=f"{self.project}, {self.environment}: secrets",
            alias=f"alias/{self.project}-{self.environment}-secrets-key",
            enable_key_rotation=True,
            removal_policy=self._removal_policy,
        )
        key.add_to_resource_policy(outsiders_key_statement(self.environment))
        return key

    def _add_database_secret(self) -> secretsmanager.Secret:
        login = self.login
        if login.iam:
            group = login.pair.group
            value = {"username": group, "dbname": login.dbname, "authentication": "iam"}
            secret = self.add_secret("database", f"where the database is; {group} logs in by IAM", value)
            acknowledge(secret, "holds no password: the application logs in with tokens of IAM", "AwsSolutions-SMG4")
        else:
            secret = self.add_pair(login.pair)
        if self._cluster is not None:
            # Adds engine, host, port and the identifier: what a template would only know by overwriting the rest.
            self.attachment = secretsmanager.SecretTargetAttachment(
                self, "DatabaseAttachment", secret=secret, target=self._cluster
            )
        elif not login.iam:
            acknowledge(secret, "there is no database at which it could be rotated", "AwsSolutions-SMG4")
        return secret

    def _first_keys(self) -> dict[str, object]:
        return {"algorithm": "ES256", "issuer": f"{self.project}-{self.environment}", "expiresIn": "1h"}

    def _add_rotator(self) -> secretsmanager.Secret:
        secret = self.add_secret(
            "rotator", "login that may set the passwords of pairs", {"username": "tegata_rotator"}, "password"
        )
        acknowledge(secret, "changed by the bootstrap alone: see docs/reference/aws-secrets.md", "AwsSolutions-SMG4")
        return secret

    def _rotate(self, rotation: RotationFunction) -> None:
        keys = {"strategy": "signing-keys", "algorithm": "ES256", "jwks_age": "5m"}
        rotation.rotate(Rotated(self.name("jwt"), self.held(self.jwt_secret), keys, self._periods.keys))
        if self._external_apis_plan is not None:
            secret, plan = self.external_apis_secret, self._external_apis_plan
            rotated = Rotated(self.name("external-apis"), self.held(secret), plan, self._periods.login, False)
            rotation.rotate(rotated)
        if self.rotator_secret is not None and self.login.exists:
            self.rotate_pair(self.database_secret, self.login.pair)

    def _add_function(self) -> RotationFunction:
        name = f"{self.project}-{self.environment}-rotation"
        log = logs.LogGroup(
            self, "RotationLog", log_group_name=f"/aws/lambda/{name}", retention=logs.RetentionDays.THREE_MONTHS
        )
        code = find_code(self, None)
        return RotationFunction(self, "Rotation", name=name, code=code, log_group=log, placement=self._place())

    def _place(self) -> Placement | None:
        vpc = getattr(self._cluster, "vpc", None)
        if self._cluster is None or vpc is None:
            return None
        group = ec2.SecurityGroup(self, "RotationGroup", vpc=vpc, description="Rotation of secrets")
        self._cluster.connections.allow_default_port_from(group, "Rotation of secrets")
        subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
        return Placement(vpc, subnets, group)


def grant_read(scope: Construct, grantee: iam.IRole, secrets: Sequence[Held]) -> iam.Policy:
    """Let a role read these secrets and nothing else; return the policy."""
    policy = iam.Policy(
        scope,
        f"Read-{cdk.Names.unique_resource_name(grantee, max_length=60)}",
        policy_name="read-secrets",
        document=iam.PolicyDocument(statements=reader_statements(scope, secrets), minimize=False),
        roles=[grantee],
    )
    acknowledge(
        policy,
        "BatchGetSecretValue knows no resource; each secret of the batch is checked for GetSecretValue",
        "AwsSolutions-IAM5[Resource::*]",
    )
    return policy


def _generator(template: str, member: str) -> secretsmanager.SecretStringGenerator:
    return secretsmanager.SecretStringGenerator(
        secret_string_template=template,
        generate_string_key=member,
        password_length=PASSWORD_LENGTH,
        exclude_characters=SYMBOLS,
        require_each_included_type=False,
    )


def _camel(words: str) -> str:
    return "".join(part.title() for part in words.replace("/", "-").split("-"))
