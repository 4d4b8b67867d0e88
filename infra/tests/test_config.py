"""What can be configured, and what is said to whoever configures what cannot be."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tegata_infra import acknowledgement, addresses, findings, mistakes
from tegata_infra.command_line import say_again
from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS, VARIABLES, Config, Owner
from tegata_infra.environments import load_config
from tegata_infra.mistakes import explain

from .guards import confidential

INFRA = Path(__file__).resolve().parent.parent
DIGEST = "sha256:" + "0123456789abcdef" * 4
ELSEWHERE = "arn:aws:acm:us-east-1:111111111111:certificate/01234567-89ab-cdef-0123-456789abcdef"


def refuse(environ: dict[str, str], **given: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        load_config("idp", given.pop("environment", "production"), environ, **given)
    return explain(caught.value)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_preset_is_valid(deployment: Any, environment: Any) -> None:
    config = load_config(deployment, environment, {})
    assert (config.deployment, config.environment) == (deployment, environment)


def test_the_configuration_cannot_be_changed() -> None:
    config = load_config("idp", "production", {})
    with pytest.raises(ValueError, match="frozen"):
        config.region = "eu-central-1"  # type: ignore[misc]
    with pytest.raises(ValueError, match="Extra inputs"):
        load_config("idp", "production", {}, databse={})


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CERTIFICATE_ARN": ELSEWHERE}, "is not in ap-northeast-1: a load balancer takes certificates of its region"),
        ({"CERTIFICATE_ARN": "my-certificate"}, "CERTIFICATE_ARN or ALB1_CERTIFICATE_ARN: String should match"),
        ({"IMAGE_URI": "registry.example/tegata:latest"}, "IMAGE_URI or FASTAPI_APP_IMAGE_URI: String should match"),
        ({"IMAGE_URI": "registry.example/tegata"}, "sha256"),
        ({"ALERT_MAIL": "nobody"}, "ALERT_MAIL: "),
        ({"DOMAIN_NAME": "https://id.example.com/"}, "DOMAIN_NAME: "),
        ({"HOSTED_ZONE_ID": "example.com"}, "HOSTED_ZONE_ID: "),
        ({"CDK_DEFAULT_ACCOUNT": "12345"}, "CDK_DEFAULT_ACCOUNT: "),
        ({"CDK_DEFAULT_REGION": "tokyo"}, "region: "),
        ({"CDK_DEFAULT_REGION": "eu-central-1"}, "are not in eu-central-1: set DEPLOYMENT_ZONES"),
        ({"DEPLOYMENT_ZONES": "ap-northeast-1a"}, "two or three different zones are needed"),
        ({"DEPLOYMENT_ZONES": "ap-northeast-1a,ap-northeast-1a"}, "two or three different zones are needed"),
        ({"REPLICA_REGION": "ap-northeast-1"}, "secrets cannot be replicated to their own region"),
        ({"COGNITO_DOMAIN_PREFIX": "my-aws-login"}, "COGNITO_DOMAIN_PREFIX: "),
        ({"NGINX_IMAGE_ID": "nginx:latest"}, "NGINX_IMAGE_ID: "),
        ({"BACKUP_COPY_VAULT_ARN": "vault"}, "BACKUP_COPY_VAULT_ARN: "),
    ],
)
def test_a_mistake_is_named_by_the_variable_in_which_it_is(environ: dict[str, str], words: str) -> None:
    said = refuse(environ)
    assert words in said
    assert "pydantic" not in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"network": {"nat_gateways": 1}}, "one NAT gateway for each zone"),
        ({"database": {"multi_az": False}}, "a database in several zones"),
        ({"database": {"deletion_protection": False}}, "deletion protection"),
        ({"database": {"backup_days": 1}}, "backups of 7 days or more"),
        ({"service": {"fewest_tasks": 1}}, "two tasks or more"),
        ({"observability": {"alarms": False}}, "alarms"),
        ({"network": {"cidr": "10.0.0.0/20"}}, "the network has to be a /16"),
        ({"network": {"nat_gateways": 3}}, "more NAT gateways than zones"),
        ({"environment": "prod"}, "'dev', 'staging' or 'production'"),
    ],
)
def test_what_production_may_not_be_is_refused(given: dict[str, Any], words: str) -> None:
    if given.get("environment") == "prod":
        with pytest.raises(ValueError, match="'dev', 'staging' or 'production'"):
            Config(deployment="idp", environment="prod")
        return
    assert words in refuse({}, **given)


def test_dev_may_be_small() -> None:
    assert load_config("idp", "dev", {}).network.nat_gateways == 1


def test_an_image_by_its_digest_is_taken() -> None:
    config = load_config("idp", "production", {"IMAGE_URI": f"registry.example:5000/tegata/server:1.2@{DIGEST}"})
    assert config.owner.image is not None


def test_an_empty_variable_says_nothing() -> None:
    assert load_config("idp", "production", dict.fromkeys(VARIABLES, "")).owner == Owner()


def test_a_third_zone_in_production_brings_its_own_gateway() -> None:
    zones = {"DEPLOYMENT_ZONES": "ap-northeast-1a,ap-northeast-1c,ap-northeast-1d"}
    assert load_config("idp", "production", zones).network.nat_gateways == 3
    assert load_config("idp", "dev", zones).network.nat_gateways == 1


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DEPLOYMENT_ENVIRONMENT": "prod"}, "'prod' is none of dev, staging, production"),
        ({"DEPLOYMENT": "plan-d"}, "'plan-d' is none of idp, plan-b, plan-c"),
        ({"CERTIFICATE_ARN": ELSEWHERE}, "a load balancer takes certificates of its region"),
    ],
)
def test_the_app_says_what_is_wrong_without_a_stack_trace(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    own = {name: value for name, value in os.environ.items() if name not in VARIABLES and "DEPLOYMENT" not in name}
    own.pop("CDK_DEFAULT_REGION", None)
    ran = subprocess.run(
        [sys.executable, "app.py"],
        cwd=INFRA,
        env={**own, "CDK_OUTDIR": str(tmp_path), **environ},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) <= 4


@pytest.mark.parametrize(
    "module", [acknowledgement, addresses, findings, mistakes, confidential], ids=lambda module: module.__name__
)
def test_examples_of_docstrings_are_true(module: Any) -> None:
    failed, _ = doctest.testmod(module)
    assert failed == 0


def test_a_variable_sets_a_field_that_is_there() -> None:
    assert set(VARIABLES.values()) <= set(Owner.model_fields)
    assert all(re.fullmatch(r"[A-Z0-9_]+", name) for name in VARIABLES)


def test_credentials_of_another_account_than_the_named_one_are_refused() -> None:
    """CDK's command line replaces CDK_DEFAULT_ACCOUNT with the account of whatever credentials it finds."""
    environ = say_again({"CDK_DEFAULT_ACCOUNT": "111111111111", "CDK_DEFAULT_REGION": "eu-central-1"})
    assert environ["AWS_REGION"] == "eu-central-1"
    with pytest.raises(ValueError, match="the credentials are those of account 222222222222, and 111111111111 was"):
        load_config("idp", "dev", {**environ, "CDK_DEFAULT_ACCOUNT": "222222222222"})
    assert load_config("idp", "dev", {"DEPLOYMENT_ACCOUNT": "111111111111"}).owner.account is None
