"""What is synthesized for the tests: each deployment in each environment, and some with what a deployer may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS, Deployment, EnvironmentName

COMBINATIONS = [(deployment, environment) for deployment in DEPLOYMENTS for environment in ENVIRONMENTS]
POOL = {"cognito_user_pool_id": "eu-central-1_AbCdEfGhI", "cognito_app_client_id": "1example23456789"}

SAID = {
    "CDK_DEFAULT_ACCOUNT": "111111111111",
    "DOMAIN_NAME": "id.example.com",
    "HOSTED_ZONE_ID": "Z0123456789",
    "IMAGE_URI": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/tegata:0.1.0@sha256:" + "a" * 64,
    "DATABASE_RESOURCE_ID": "db-ABCDEFGHIJKL01234567890123",
    "BACKUP_COPY_VAULT_ARN": "arn:aws:backup:ap-northeast-3:222222222222:backup-vault:elsewhere",
}
"""Variables of Tegata that do not exclude each other."""

ELSEWHERE = "registry.example.com/tegata@sha256:" + "b" * 64
"""An image in nobody's ECR."""

SEED = {
    "CDK_DEFAULT_ACCOUNT": "123456789012",
    "CDK_DEFAULT_REGION": "ap-northeast-1",
    "COGNITO_DOMAIN_PREFIX": "plan-b-of-ours",
    "DOMAIN_NAME": "app.example.com",
    "HOSTED_ZONE_ID": "Z0123456789ABCDEFGHIJ",
    "ALB1_CERTIFICATE_ARN": "arn:aws:acm:ap-northeast-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef",
    "NGINX_IMAGE_ID": "ami-0123456789abcdef0",
    "FASTAPI_APP_IMAGE_URI": "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/my-fastapi-app-repo@sha256:" + "a" * 64,
    "COGNITO_USER_POOL_ID_ENV": "eu-central-1_AbCdEfGhI",
    "COGNITO_REGION_ENV": "eu-central-1",
    "COGNITO_APP_CLIENT_ID_ENV": "1example23456789",
}
"""Every variable that the seed's section 5.5 names for a deployment of Plan B, with a value of its kind."""


@dataclass(frozen=True, slots=True)
class Synthesis:
    """One run: what is deployed, what the deployer says in variables, and fields of the configuration."""

    deployment: Deployment
    environment: EnvironmentName
    environ: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)


SYNTHESES: Mapping[str, Synthesis] = {
    **{f"{deployment}-{environment}": Synthesis(deployment, environment) for deployment, environment in COMBINATIONS},
    "said": Synthesis(
        "idp",
        "production",
        SAID,
        {"service": {"architecture": "arm64", "execute_command": True, "tracing": False}},
    ),
    "on-the-way-back": Synthesis("idp", "staging", {"MIGRATE": "no", "IMAGE_URI": ELSEWHERE}),
    "service-passwords": Synthesis("idp", "production", given={"database": {"authentication": "secret"}}),
    "plan-b-of-the-seed": Synthesis("plan-b", "production", SEED),
    "tokens-of-a-tenant": Synthesis("plan-c", "production", given={"edge": {"jwt_validation": True}}),
    "tokens-of-a-pool": Synthesis("plan-c", "production", given={"edge": {"jwt_validation": True}, "owner": POOL}),
}
"""By the name of the folder into which its templates go."""
