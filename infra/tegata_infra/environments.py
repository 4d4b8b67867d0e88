"""The presets: what dev, staging and production are made of, for each deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tegata_infra.config import Config, Deployment, EnvironmentName, read_owner

PRODUCTION: dict[str, Any] = {}
"""The seed's figures, which are the models' defaults."""

STAGING: dict[str, Any] = {
    "database": {"instance_class": "t4g.large", "replica_class": "t4g.medium", "most_storage_gib": 200},
    "cache": {"node_type": "cache.t4g.small"},
    "service": {"cpu": 1024, "memory_mib": 2048, "most_tasks": 4},
}
"""As production in shape, smaller in size: what breaks in one zone breaks here first."""

DEV: dict[str, Any] = {
    "network": {"nat_gateways": 1},
    "database": {
        "instance_class": "t4g.micro",
        "replica_class": None,
        "storage_gib": 20,
        "most_storage_gib": 50,
        "multi_az": False,
        "backup_days": 1,
        "deletion_protection": False,
    },
    "cache": None,
    "service": {"cpu": 256, "memory_mib": 512, "fewest_tasks": 1, "most_tasks": 2, "tracing": False},
    "secrets": {"replica_region": None},
    "observability": {"log_days": 7, "alarms": False, "trail": False, "backup_vault": False},
}
"""The small budget: one of everything."""

PRESETS: Mapping[EnvironmentName, dict[str, Any]] = {"dev": DEV, "staging": STAGING, "production": PRODUCTION}


def load_config(
    deployment: Deployment, environment: EnvironmentName, environ: Mapping[str, str], **given: Any
) -> Config:
    """Return the configuration of one deployment in one environment.

    Args:
        deployment: what is deployed.
        environment: which preset.
        environ: environment variables: those of `config.VARIABLES`, CDK_DEFAULT_REGION, DEPLOYMENT_ZONES (with commas)
            and REPLICA_REGION ("none" for no copies); JWT_VALIDATION=true for `edge.jwt_validation`;
            DEPLOYMENT_ACCOUNT, which CDK_DEFAULT_ACCOUNT must not differ from.
        given: fields of `Config` that are laid over the preset.

    Raises:
        ValueError: the values do not go together; the text says which.
    """
    named, found = environ.get("DEPLOYMENT_ACCOUNT"), environ.get("CDK_DEFAULT_ACCOUNT")
    if named and found and named != found:
        raise ValueError(f"the credentials are those of account {found}, and {named} was named")
    preset: dict[str, Any] = {**PRESETS[environment]}
    if region := environ.get("CDK_DEFAULT_REGION"):
        preset["region"] = region
    if zones := environ.get("DEPLOYMENT_ZONES"):
        preset["network"] = {**preset.get("network", {}), "zones": tuple(zones.split(","))}
        if environment != "dev":
            preset["network"]["nat_gateways"] = len(preset["network"]["zones"])
    if environ.get("JWT_VALIDATION") == "true":
        preset["edge"] = {**preset.get("edge", {}), "jwt_validation": True}
    if replica := environ.get("REPLICA_REGION"):
        preset["secrets"] = {**preset.get("secrets", {}), "replica_region": None if replica == "none" else replica}
    fields = {"deployment": deployment, "environment": environment, "owner": read_owner(environ), **preset, **given}
    return Config.model_validate(fields)
