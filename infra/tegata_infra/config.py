"""What a deployment is made of: one frozen, validated model.

Presets are in `environments`; what differs between two owners of the same environment (names, certificates, images)
comes from environment variables, read by `read_owner`. What is not given becomes a parameter of the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Deployment = Literal["idp", "plan-b", "plan-c"]
EnvironmentName = Literal["dev", "staging", "production"]
Packaging = Literal["assets", "parameters"]

DEPLOYMENTS: tuple[Deployment, ...] = ("idp", "plan-b", "plan-c")
ENVIRONMENTS: tuple[EnvironmentName, ...] = ("dev", "staging", "production")

Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
HostName = Annotated[
    str, StringConstraints(pattern=r"^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$")
]
HostedZoneId = Annotated[str, StringConstraints(pattern=r"^Z[A-Z0-9]{1,31}$")]
CertificateArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]{36}$")
]
Image = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64}$")
]
"""An image by its digest: `latest`, or any other tag alone, may be another image tomorrow."""
BackupVaultArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:backup:[a-z0-9-]+:[0-9]{12}:backup-vault:[A-Za-z0-9_-]{2,50}$")
]
MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
CognitoPrefix = Annotated[
    str, StringConstraints(pattern=r"^(?!.*(aws|amazon|cognito))[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
]
ImageId = Annotated[str, StringConstraints(pattern=r"^ami-([0-9a-f]{8}|[0-9a-f]{17})$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")


class NetworkConfig(_Frozen):
    """One /16 in two or three zones; `nat_gateways` is one for each zone where an outage of a zone must not matter."""

    cidr: str = "10.0.0.0/16"
    zones: tuple[str, ...] = ("ap-northeast-1a", "ap-northeast-1c")
    nat_gateways: int = Field(default=2, ge=1, le=3)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if IPv4Network(self.cidr).prefixlen != 16:
            raise ValueError("the network has to be a /16: subnets are its /24 1-3, 10-12 and 20-22")
        if not 2 <= len(set(self.zones)) == len(self.zones) <= 3:
            raise ValueError("two or three different zones are needed")
        if self.nat_gateways > len(self.zones):
            raise ValueError("more NAT gateways than zones")
        return self


class DatabaseConfig(_Frozen):
    """RDS for PostgreSQL. `replica_class` of None means no read replica."""

    engine_version: str = Field(default="17.9", pattern=r"^1[5-8]\.[0-9]+$")
    instance_class: str = "r6g.xlarge"
    replica_class: str | None = "r6g.large"
    storage_gib: int = Field(default=100, ge=20)
    most_storage_gib: int = Field(default=500, ge=20)
    multi_az: bool = True
    backup_days: int = Field(default=7, ge=1, le=35)
    authentication: Literal["aws_iam", "secret"] = "aws_iam"
    """How Tegata logs in: with tokens of IAM, or with passwords of two logins that take turns."""
    monitoring_seconds: Literal[1, 5, 10, 15, 30, 60] = 60
    insights_days: int = 7
    deletion_protection: bool = True


class CacheConfig(_Frozen):
    """ElastiCache with the Valkey engine. Tegata needs none; it is there for what stands beside it."""

    node_type: str = "cache.r7g.large"
    nodes: int = Field(default=2, ge=1, le=6)
    snapshot_days: int = Field(default=5, ge=0, le=35)
    snapshot_window: str = "03:00-05:00"
    maintenance_window: str = "sun:05:00-sun:06:00"


class ServiceConfig(_Frozen):
    """The Fargate service: CPU in units of 1/1024 of a core, memory in MiB."""

    cpu: Literal[256, 512, 1024, 2048, 4096] = 2048
    memory_mib: int = Field(default=4096, ge=512)
    architecture: Literal["arm64", "x86_64"] = "x86_64"
    """What the image was built for."""
    fewest_tasks: int = Field(default=2, ge=1)
    most_tasks: int = Field(default=10, ge=1)
    cpu_target_percent: int = Field(default=60, ge=10, le=90)
    requests_target: int = Field(default=1000, ge=10)
    execute_command: bool = False
    """Break glass: a shell in the containers. Off but for an incident, and then on by a reviewed change."""
    tracing: bool = True


class SecretsConfig(_Frozen):
    """Secrets Manager: `replica_region` holds copies of all secrets for the case that the region is lost."""

    enable_rotation: bool = True
    rotation_days: int = Field(default=30, ge=1, le=365)
    key_rotation_days: int = Field(default=90, ge=1, le=1000)
    replica_region: Region | None = "ap-northeast-3"


class EdgeConfig(_Frozen):
    """What the world sees. `rate_limit` is requests of one address in five minutes."""

    rate_limit: int = Field(default=2000, ge=10)
    sign_in_rate_limit: int = Field(default=300, ge=10)
    """Of Tegata's pages that take a password or an answer; an office of many people is one address."""
    token_rate_limit: int = Field(default=1000, ge=10)
    """Of the endpoints that authenticate clients; a service that asks for many tokens is one address, too."""
    jwt_validation: bool = False
    """Plan C: the load balancer itself refuses requests without a valid token."""


class ObservabilityConfig(_Frozen):
    """Logs, alarms and backups."""

    log_days: Literal[7, 14, 30, 90, 180, 365] = 30
    alarms: bool = True
    trail: bool = True
    backup_vault: bool = True


class Owner(_Frozen):
    """What is the deployer's own. None becomes a parameter of the template, or means that it is not wanted."""

    account: Account | None = None
    domain_name: HostName | None = None
    hosted_zone_id: HostedZoneId | None = None
    certificate_arn: CertificateArn | None = None
    back_certificate_arn: CertificateArn | None = None
    image: Image | None = None
    alert_mail: MailAddress | None = None
    backup_copy_vault_arn: BackupVaultArn | None = None
    cognito_domain_prefix: CognitoPrefix | None = None
    cognito_user_pool_id: str | None = Field(default=None, pattern=r"^[a-z0-9-]+_[A-Za-z0-9]+$")
    cognito_app_client_id: str | None = Field(default=None, pattern=r"^[a-z0-9]{1,128}$")
    cognito_region: Region | None = None
    nginx_image_id: ImageId | None = None
    issuer: str | None = Field(default=None, pattern=r"^https://[^\s?#]+$")
    audience: str | None = Field(default=None, pattern=r"^[!-~]{1,256}$")
    database_resource_id: str | None = Field(default=None, pattern=r"^db-[A-Z0-9]+$")
    """Of an instance that was restored and has taken the other's place: logins by IAM name it."""
    migrate: bool = True
    """Not on the way back to an older release, whose migrations do not know the newer schema."""


class Config(_Frozen):
    """One deployment in one environment."""

    deployment: Deployment
    environment: EnvironmentName
    region: Region = "ap-northeast-1"
    project: str = Field(default="tegata", pattern=r"^[a-z][a-z0-9-]{1,20}$")
    packaging: Packaging = "parameters"
    owner: Owner = Owner()
    network: NetworkConfig = NetworkConfig()
    database: DatabaseConfig = DatabaseConfig()
    cache: CacheConfig | None = CacheConfig()
    service: ServiceConfig = ServiceConfig()
    secrets: SecretsConfig = SecretsConfig()
    edge: EdgeConfig = EdgeConfig()
    observability: ObservabilityConfig = ObservabilityConfig()

    @property
    def is_production(self) -> bool:
        return self.environment == "production"

    @property
    def prefix(self) -> str:
        """What names of resources begin with: those of seed 001 in production."""
        base = {"idp": "idp-server", "plan-b": "plan-b", "plan-c": "plan-c"}[self.deployment]
        return base if self.is_production else f"{base}-{self.environment}"

    @property
    def app_port(self) -> int:
        """Where the containers listen: Tegata as in seed 001, the application of the other two as in seed 003."""
        return 8080 if self.deployment == "idp" else 8000

    @property
    def stack_prefix(self) -> str:
        """What names of stacks begin with."""
        base = {"idp": "Tegata", "plan-b": "PlanB", "plan-c": "PlanC"}[self.deployment]
        return f"{base}-{self.environment}"

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        if any(not re.fullmatch(re.escape(self.region) + "[a-z]", zone) for zone in self.network.zones):
            raise ValueError(
                f"zones {', '.join(self.network.zones)} are not in {self.region}: set DEPLOYMENT_ZONES, or AWS_REGION"
            )
        if self.secrets.replica_region == self.region:
            raise ValueError("secrets cannot be replicated to their own region")
        for arn in (self.owner.certificate_arn, self.owner.back_certificate_arn):
            if arn is not None and arn.split(":")[3] != self.region:
                raise ValueError(f"{arn} is not in {self.region}: a load balancer takes certificates of its region")
        return self

    @model_validator(mode="after")
    def _check_production(self) -> Self:
        if not self.is_production:
            return self
        wrong = {
            "one NAT gateway for each zone": self.network.nat_gateways == len(self.network.zones),
            "a database in several zones": self.database.multi_az,
            "deletion protection": self.database.deletion_protection,
            "backups of 7 days or more": self.database.backup_days >= 7,
            "two tasks or more": self.service.fewest_tasks >= 2,
            "alarms": self.observability.alarms,
        }
        missing = [what for what, there in wrong.items() if not there]
        if missing:
            raise ValueError(f"production needs {', '.join(missing)}")
        return self


VARIABLES: Mapping[str, str] = {
    "CDK_DEFAULT_ACCOUNT": "account",
    "DOMAIN_NAME": "domain_name",
    "HOSTED_ZONE_ID": "hosted_zone_id",
    "CERTIFICATE_ARN": "certificate_arn",
    "ALB1_CERTIFICATE_ARN": "certificate_arn",
    "ALB2_CERTIFICATE_ARN": "back_certificate_arn",
    "IMAGE_URI": "image",
    "FASTAPI_APP_IMAGE_URI": "image",
    "ALERT_MAIL": "alert_mail",
    "BACKUP_COPY_VAULT_ARN": "backup_copy_vault_arn",
    "COGNITO_DOMAIN_PREFIX": "cognito_domain_prefix",
    "COGNITO_USER_POOL_ID_ENV": "cognito_user_pool_id",
    "COGNITO_APP_CLIENT_ID_ENV": "cognito_app_client_id",
    "COGNITO_REGION_ENV": "cognito_region",
    "NGINX_IMAGE_ID": "nginx_image_id",
    "DATABASE_RESOURCE_ID": "database_resource_id",
    "MIGRATE": "migrate",
    "TOKEN_ISSUER": "issuer",
    "TOKEN_AUDIENCE": "audience",
}
"""Environment variables and what of `Owner` they set; those of the seeds have the seeds' names."""


def read_owner(environ: Mapping[str, str]) -> Owner:
    """Return what the deployer has said. An empty variable says nothing.

    Raises:
        ValueError: something is malformed; the text names the field.
    """
    return Owner.model_validate({field: environ[name] for name, field in VARIABLES.items() if environ.get(name)})
