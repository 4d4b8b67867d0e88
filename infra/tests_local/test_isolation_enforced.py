"""The servers' own rights, as the templates have them, before an evaluator that is not ours: ministack enforces them.

It knows neither the condition keys of Secrets Manager nor resource policies; `test_isolation.py` judges those.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from deployed import REGION, Deployed

from tegata_credentials.testing.enforced_account import EnforcedAccount, enforced_account

PROGRAMS = Path(sys.prefix, "ministack", "bin")
PREFIXES = {"dev": "idp-server-dev", "production": "idp-server"}


@pytest.fixture(scope="module")
def account() -> Iterator[EnforcedAccount]:
    if not (PROGRAMS / "python").exists():
        words = "ministack, which `make test` installs from requirements/ministack.txt"
        if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
            pytest.fail(f"missing: {words}")
        pytest.skip(f"needs {words}")
    with enforced_account(PROGRAMS, REGION) as started:
        yield started


@pytest.fixture(scope="module")
def servers(account: EnforcedAccount) -> Iterator[Mapping[str, Any]]:
    """Clients that have assumed each environment's role of the servers, beside the secrets of both."""
    store = account.client("secretsmanager")
    made = {}
    for environment in PREFIXES:
        deployed = Deployed.read(environment)
        deployed.make_secrets(store, {"host": "127.0.0.1", "port": 5432})
        made[environment] = account.secrets_as(f"{environment}-server", *documents_of(deployed, "ServerRole"))
    yield made
    for each in (store, *made.values()):
        each.close()


def documents_of(deployed: Deployed, word: str) -> list[Any]:
    found = [
        policy.properties["PolicyDocument"]
        for policy in deployed.all("AWS::IAM::Policy")
        if any(f"-Service-{word}" in role for role in policy.properties["Roles"])
    ]
    assert found
    return found


def is_denied(store: Any, call: str, secret: str, **more: str) -> bool:
    try:
        getattr(store, call)(SecretId=secret, **more)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "AccessDeniedException")
    return False


@pytest.mark.parametrize("reader", PREFIXES)
@pytest.mark.parametrize("owner", PREFIXES)
def test_servers_read_the_master_key_of_their_own_environment(
    servers: Mapping[str, Any], reader: str, owner: str
) -> None:
    secret = f"{PREFIXES[owner]}/api-credentials"
    assert is_denied(servers[reader], "get_secret_value", secret) == (reader != owner)


@pytest.mark.parametrize("environment", PREFIXES)
def test_they_read_nothing_else_and_change_nothing(servers: Mapping[str, Any], environment: str) -> None:
    for secret in (f"{PREFIXES[environment]}/db-credentials", f"tegata-{environment}-secret-jwt"):
        assert is_denied(servers[environment], "get_secret_value", secret)
    own = f"{PREFIXES[environment]}/api-credentials"
    assert is_denied(servers[environment], "put_secret_value", own, SecretString="{}")
    assert is_denied(servers[environment], "delete_secret", own)
