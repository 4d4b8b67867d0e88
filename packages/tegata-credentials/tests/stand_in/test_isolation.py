"""The dev role cannot read prod's secret: the policies on ministack, which enforces them, through the kit's sources.

ministack knows no condition keys of Secrets Manager, so the policies are used without `stages` and `function_arn`;
`test_policies.py` judges those.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tegata_credentials.errors import SecretAccessDenied
from tegata_credentials.policies import Place, reader_policy, rotation_policy
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.secret_service import SecretNames, SecretService
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.testing.enforced_account import EnforcedAccount, enforced_account
from tegata_credentials.testing.secrets_manager import new_token
from tegata_credentials.token_state import HiddenText

PLACE = Place("eu-west-1", "000000000000")
JWT = {"secret": secrets.token_urlsafe(32), "algorithm": "HS256", "issuer": "https://auth.example", "expiresIn": "24h"}
DATABASE = {
    "username": "app_a",
    "password": "",
    "engine": "postgres",
    "host": "db.example",
    "port": 5432,
    "dbname": "app",
}


@pytest.fixture(scope="module")
def account(ministack_programs: Path) -> Iterator[EnforcedAccount]:
    """An account with secrets of two environments."""
    with enforced_account(ministack_programs, PLACE.region) as started:
        store = started.client("secretsmanager")
        for environment in ("dev", "prod"):
            for name, document in (("database", DATABASE), ("jwt", JWT)):
                store.create_secret(Name=f"acme-{environment}-secret-{name}", SecretString=json.dumps(document))
        store.create_secret(Name="acme-dev-administrator", SecretString=json.dumps(DATABASE))
        store.close()
        yield started


@pytest.fixture(scope="module")
def dev(account: EnforcedAccount) -> Iterator[Any]:
    secrets_of_dev = [f"acme-dev-secret-{name}" for name in ("database", "jwt")]
    client = account.secrets_as("dev", reader_policy(secrets_of_dev, place=PLACE))
    yield client
    client.close()


@pytest.fixture(scope="module")
def rotator(account: EnforcedAccount) -> Iterator[Any]:
    policy = rotation_policy("acme-dev-secret-database", place=PLACE, administrator="acme-dev-administrator")
    client = account.secrets_as("rotator", policy)
    yield client
    client.close()


def is_denied(call: Callable[..., object], **parameters: object) -> bool:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return bool(refused.value.response["Error"]["Code"] == "AccessDeniedException")


def test_policies_are_really_enforced(account: EnforcedAccount) -> None:
    nobody = account.secrets_as("nobody", reader_policy(["something-else"], place=PLACE))
    assert is_denied(nobody.get_secret_value, SecretId="acme-dev-secret-jwt")
    nobody.close()


class TestReaders:
    def test_the_dev_role_reads_dev_s_secret(self, dev: Any) -> None:
        service = SecretService(AwsSecretsManager(dev), names=SecretNames("acme", "dev"))
        try:
            assert service.get_jwt_secret().issuer == JWT["issuer"]
        finally:
            service.close()

    def test_it_is_denied_prod_s_whether_by_name_or_by_arn(self, account: EnforcedAccount, dev: Any) -> None:
        store = account.client("secretsmanager")
        arn = store.describe_secret(SecretId="acme-prod-secret-jwt")["ARN"]
        store.close()
        for name in ("acme-prod-secret-jwt", arn):
            with pytest.raises(SecretAccessDenied):
                AwsSecretsManager(dev).fetch(name)

    def test_the_service_gives_no_default_for_what_is_denied(self, dev: Any) -> None:
        service = SecretService(
            AwsSecretsManager(dev), names=SecretNames("acme", "prod"), profile="development", defaults={"jwt": JWT}
        )
        try:
            with pytest.raises(SecretAccessDenied) as denied:
                service.get_jwt_secret()
            assert denied.value.http_status == 500
        finally:
            service.close()

    def test_a_batch_over_both_environments_gives_what_is_allowed(self, dev: Any) -> None:
        names = [f"acme-{environment}-secret-database" for environment in ("dev", "prod")]
        found = AwsSecretsManager(dev).fetch_many(names)
        assert [type(found[name]).__name__ for name in names] == ["SecretVersion", "SecretAccessDenied"]

    def test_it_changes_nothing(self, dev: Any) -> None:
        secret = "acme-dev-secret-database"
        for call, more in [
            (dev.put_secret_value, {"SecretString": "{}"}),
            (dev.update_secret, {"SecretString": "{}"}),
            (dev.delete_secret, {}),
            (dev.describe_secret, {}),
        ]:
            assert is_denied(call, SecretId=secret, **more)
        assert is_denied(dev.create_secret, Name="acme-dev-secret-own", SecretString="{}")


class TestRotation:
    def test_the_rotation_s_role_can_do_all_that_a_rotation_does(self, rotator: Any) -> None:
        store, secret, token = AwsVersions(rotator), "acme-dev-secret-database", new_token()
        before = store.labels(secret).holder("AWSCURRENT")
        assert before is not None
        store.put_pending(secret, token, HiddenText(json.dumps(DATABASE | {"username": "app_b"})))
        assert store.read(secret, version=token, stage="AWSPENDING").document()["username"] == "app_b"
        store.promote(secret, token, replacing=before)
        assert store.labels(secret).holder("AWSCURRENT") == token
        assert store.labels(secret).holder("AWSPREVIOUS") == before

    def test_it_reads_the_administrator_s_secret_and_does_not_change_it(self, rotator: Any) -> None:
        assert AwsVersions(rotator).read("acme-dev-administrator")
        assert is_denied(rotator.put_secret_value, SecretId="acme-dev-administrator", SecretString="{}")

    @pytest.mark.parametrize("secret", ["acme-dev-secret-jwt", "acme-prod-secret-database"])
    def test_it_can_do_nothing_with_another_secret(self, rotator: Any, secret: str) -> None:
        store = AwsVersions(rotator)
        with pytest.raises(SecretAccessDenied):
            store.read(secret)
        with pytest.raises(SecretAccessDenied):
            store.labels(secret)
        with pytest.raises(SecretAccessDenied):
            store.put_pending(secret, new_token(), HiddenText("{}"))

    def test_it_neither_begins_a_rotation_nor_deletes(self, rotator: Any) -> None:
        secret = "acme-dev-secret-database"
        assert is_denied(rotator.rotate_secret, SecretId=secret)
        assert is_denied(rotator.delete_secret, SecretId=secret)
