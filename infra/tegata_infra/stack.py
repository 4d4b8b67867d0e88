"""What every stack has: configuration, names, tags, and parameters for what the deployer has not said."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from tegata_infra.config import Config

RETENTION = {
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
}

PARAMETERS: dict[str, dict[str, str]] = {
    "DomainName": {
        "description": "Name under which browsers and clients reach the front load balancer, e.g. id.example.com",
        "allowed_pattern": r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
    },
    "CertificateArn": {
        "description": "ACM certificate of the domain name, in this region",
        "allowed_pattern": r"arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]{36}",
    },
    "BackCertificateArn": {
        "description": "ACM certificate of the internal load balancer's private name, in this region",
        "allowed_pattern": r"arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]{36}",
    },
    "Image": {
        "description": "The container image by digest: registry/repository@sha256:...",
        "allowed_pattern": r"[a-z0-9.:-]+/[A-Za-z0-9._/:-]+@sha256:[0-9a-f]{64}",
    },
    "CollectorImage": {
        "description": "Collector of traces (AWS Distro for OpenTelemetry); with @sha256:... it stays the same",
        "allowed_pattern": r"[a-z0-9.:-]+/[A-Za-z0-9._/-]+:(?!latest)[A-Za-z0-9._-]+(@sha256:[0-9a-f]{64})?",
        "default": "public.ecr.aws/aws-observability/aws-otel-collector:v0.49.0",
    },
    "CognitoDomainPrefix": {
        "description": "First part of the user pool's domain; nobody else in the region may have it",
        "allowed_pattern": r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    },
    "TokenIssuer": {
        "description": "Whose tokens the application accepts: the issuer, as in the claim iss",
        "allowed_pattern": r"https://[^\s?#]+",
    },
    "TokenAudience": {
        "description": "For whom those tokens are: the application's own name in the claim aud",
        "allowed_pattern": r"[!-~]{1,256}",
    },
    "CodeBucket": {
        "description": "Bucket that holds the zip of the rotation function",
        "allowed_pattern": r"[a-z0-9.-]{3,63}",
    },
    "CodeKey": {
        "description": "The zip's key in that bucket; another key for another zip",
        "allowed_pattern": r".+\.zip",
    },
    "AlertMail": {
        "description": "Who is written to when an alarm goes off; empty for nobody",
        "allowed_pattern": r"|[^@\s]+@[^@\s]+\.[^@\s]+",
        "default": "",
    },
}
"""The parameters that templates may have, the same in each stack that asks for them."""


class TegataStack(cdk.Stack):
    """A stack of one deployment. `name` is its last word: Network, Data, ..."""

    def __init__(self, scope: Construct, name: str, config: Config, **given: Any) -> None:
        given.setdefault("stack_name", f"{config.stack_prefix}-{name}")
        super().__init__(
            scope,
            given.pop("construct_id", f"{config.stack_prefix}-{name}"),
            env=cdk.Environment(account=config.owner.account, region=given.pop("region", config.region)),
            termination_protection=config.is_production,
            synthesizer=cdk.BootstraplessSynthesizer() if config.packaging == "parameters" else None,
            **given,
        )
        self.config = config
        cdk.Tags.of(self).add("Project", config.project)
        cdk.Tags.of(self).add("Environment", config.environment)
        cdk.Tags.of(self).add("Deployment", config.deployment)

    def name(self, *words: str) -> str:
        """Return the name of a resource: `idp-server-alb-sg` from `alb`, `sg`."""
        return "-".join((self.config.prefix, *words))

    def say_or_ask(self, parameter: str, said: str | None) -> str:
        """Return what the deployer has said, or a reference to the template's parameter of that name."""
        if said is not None:
            return said
        found = self.node.try_find_child(parameter)
        if found is None:
            found = cdk.CfnParameter(self, parameter, type="String", **PARAMETERS[parameter])
        assert isinstance(found, cdk.CfnParameter)
        return found.value_as_string

    def retention(self) -> cdk.RemovalPolicy:
        """What becomes of data when a stack is deleted: it stays, but for what `dev` made.

        What a deployment has made that is rolled back goes with it: names are taken once, and the next try makes them.
        """
        if self.config.environment == "dev":
            return cdk.RemovalPolicy.DESTROY
        return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE

    def add_key(self, purpose: str, description: str) -> kms.Key:
        """Add a KMS key for one purpose, which is replaced by itself each year."""
        return kms.Key(
            self,
            f"{purpose.title()}Key",
            description=f"{self.config.prefix}: {description}",
            alias=f"alias/{self.name(purpose)}-key",
            enable_key_rotation=True,
            pending_window=cdk.Duration.days(30 if self.config.is_production else 7),
            removal_policy=self.retention(),
        )

    def add_log_group(self, construct_id: str, name: str, key: kms.IKey | None = None) -> logs.LogGroup:
        """Add a log group that forgets after the configured days."""
        return logs.LogGroup(
            self,
            construct_id,
            log_group_name=name,
            retention=RETENTION[self.config.observability.log_days],
            encryption_key=key,
            removal_policy=self.retention(),
        )
