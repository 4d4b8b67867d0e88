"""The secrets: seed 001's and seed 004's, one key, the function that rotates them, and who may read what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct, IDependable

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.config import Config
from tegata_infra.data import DATABASE_NAME, DataStack
from tegata_infra.network import NetworkStack
from tegata_infra.policies import Held, outsiders_key_statement
from tegata_infra.rotation import ZIP, Placement, Rotated, RotationFunction, find_code
from tegata_infra.rotation_alarms import Watched
from tegata_infra.secrets_manager import DatabaseLogin, Pair, Periods, Replica, SecretsManagerConstruct
from tegata_infra.stack import TegataStack

PAIRS = (
    Pair("database", "tegata_app", "select 1 from tegata.client where false"),
    Pair("maintenance-database", "tegata_maint", "select 1 from tegata.client where false"),
    Pair("migration-database", "tegata_migrator"),
)
"""Tegata's own logins."""

VARIABLES = {
    "database": "TEGATA_DATABASE_SECRET",
    "maintenance-database": "TEGATA_MAINTENANCE_DATABASE_SECRET",
    "migration-database": "TEGATA_MIGRATION_DATABASE_SECRET",
}


COPIES = "secrets-copies"


class SecretsReplicaStack(TegataStack):
    """The key, in the second region, of the copies there: a key is never in two regions, nor is a stack."""

    def __init__(self, scope: Construct, config: Config, region: str) -> None:
        super().__init__(
            scope, "SecretsReplica", config, region=region, description=f"{config.prefix}: key of the secrets' copies"
        )
        # Under a name of its own: on the worst day the stack Secrets is deployed here, with its own key.
        key = self.add_key(COPIES, f"copies of the secrets of {config.region}")
        key.add_to_resource_policy(outsiders_key_statement(config.environment))


class SecretsStack(TegataStack):
    """`api_credentials`, `clients`, seed 004's three as `seed`, Tegata's logins as `pairs`, and `rotation`."""

    def __init__(self, scope: Construct, config: Config, network: NetworkStack, data: DataStack) -> None:
        super().__init__(scope, "Secrets", config, description=f"{config.prefix}: secrets and their rotation")
        self._data = data
        self.key = self.add_key("secrets", "secrets")
        self.key.add_to_resource_policy(outsiders_key_statement(config.environment))
        replica_region = config.secrets.replica_region
        if replica_region is not None:
            self.add_stack_dependency(SecretsReplicaStack(scope, config, replica_region))
        self.rotation = self._add_function(network) if config.secrets.enable_rotation else None
        self.seed = SecretsManagerConstruct(
            self,
            "Seed",
            environment=config.environment,
            project=config.project,
            database_cluster=data.database,
            enable_rotation=config.secrets.enable_rotation,
            login=self._login(),
            encryption_key=self.key,
            replica=None if replica_region is None else Replica(replica_region, f"alias/{self.name(COPIES)}-key"),
            rotation=self.rotation,
            periods=Periods(config.secrets.rotation_days, config.secrets.key_rotation_days),
            removal_policy=self.retention(),
        )
        self.api_credentials = self._add_api_credentials()
        self.clients = self._add_clients()
        self.pairs = self._add_pairs()
        self._keep_administrator()

    @property
    def master_key(self) -> str:
        """What `TEGATA_MASTER_KEY` is set to: where the key is, not the key."""
        return f"awssm:{self.api_credentials.secret_arn}#encryption_key"

    def environment_of_logins(self) -> dict[str, str]:
        """Return the variables that say where Tegata's logins are; none where it logs in by IAM."""
        return {VARIABLES[pair.word]: f"awssm:{secret.secret_arn}" for pair, secret in self.pairs.items()}

    def rotate_logins(self, scope: Construct, after: Sequence[IDependable]) -> None:
        """Begin to rotate Tegata's logins, if they have passwords: after the bootstrap and the migration."""
        for pair, secret in self.pairs.items():
            self.seed.rotate_pair(secret, pair, scope, after)

    @property
    def watched(self) -> Watched:
        """What the alarms of reads watch, and whom they expect: the roles that stacks of this environment make."""
        config = self.config
        return Watched(
            prefix=config.prefix,
            secrets=(f"{config.project}-{config.environment}-secret-", f"{config.prefix}/"),
            readers=(f"{config.stack_prefix}-",),
        )

    def _held(self, secret: secretsmanager.ISecret) -> Held:
        return Held(secret.secret_arn, self.key.key_arn)

    @property
    def _administrator(self) -> Held:
        return Held(self._data.administrator.secret_arn, self._data.database_key.key_arn)

    def _login(self) -> DatabaseLogin:
        replica = self._data.replica
        return DatabaseLogin(
            pair=PAIRS[0],
            dbname=DATABASE_NAME,
            iam=self.config.database.authentication == "aws_iam",
            reader_host=None if replica is None else replica.db_instance_endpoint_address,
            exists=False,
        )

    def _add_pairs(self) -> Mapping[Pair, secretsmanager.Secret]:
        if not self.seed.has_pair:
            return {}
        others = {pair: self.seed.add_pair(pair) for pair in PAIRS[1:]}
        for pair, secret in others.items():
            secretsmanager.SecretTargetAttachment(
                self, f"Attachment-{pair.word}", secret=secret, target=self._data.database
            )
        return {PAIRS[0]: self.seed.database_secret, **others}

    def _add_api_credentials(self) -> secretsmanager.Secret:
        """Add what seals Tegata's keys, under the seed's name; nothing else is in it that somebody else has to read."""
        secret = self.seed.add_secret_named(
            f"{self.config.prefix}/api-credentials",
            "the master key, under which Tegata seals its keys",
            {"api_key": self.config.prefix},
            "encryption_key",
        )
        acknowledge(
            secret,
            "what is sealed under it has to be opened: it is changed by hand, the old key kept behind the new one",
            "AwsSolutions-SMG4",
        )
        return secret

    def _add_clients(self) -> secretsmanager.Secret:
        """Add the seed's api_secret: apart, for whoever may call the API must not be able to open Tegata's keys."""
        secret = self.seed.add_secret_named(
            f"{self.config.prefix}/api-client-credentials",
            "what a client of the API is given",
            {"api_key": self.config.prefix},
            "api_secret",
        )
        acknowledge(secret, "given to clients by hand, and replaced with them", "AwsSolutions-SMG4")
        return secret

    def _add_function(self, network: NetworkStack) -> RotationFunction:
        name = f"{self.config.project}-{self.config.environment}-rotation"
        log = self.add_log_group("RotationLog", f"/aws/lambda/{name}", network.logs_key)
        return RotationFunction(
            self,
            "Rotation",
            name=name,
            code=find_code(self, ZIP if self.config.packaging == "assets" else None),
            log_group=log,
            placement=Placement(network.vpc, ec2.SubnetSelection(subnet_group_name="app"), network.firewall.rotation),
            tracing=self.config.service.tracing,
        )

    def _keep_administrator(self) -> None:
        """Rotate the administrator's login, which has no twin, and deny it to other environments."""
        self.seed.keep_outsiders_out(self._data.administrator)
        if self.rotation is None:
            return
        name = f"{self.config.prefix}/db-credentials"
        # Nobody else may set this password; should it be lost, RDS sets a new one (docs/reference/aws-secrets.md).
        plan = {"strategy": "single-user", "administrator": name}
        days = self.config.secrets.rotation_days
        # Not at once: the bootstrap reads it next, and a single user's login is refused for a moment.
        self.rotation.rotate(Rotated(name, self._administrator, plan, days, immediately=False))
