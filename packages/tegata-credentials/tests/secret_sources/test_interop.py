"""Software of others reads the same store as we do: before a rotation, after it, and by label."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig

from tegata_credentials.secret_service import SecretNames, SecretService
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.testing.secrets_manager import new_token

NAME = "shop-prod-secret-database"


def written(number: int) -> str:
    document = {"username": f"app_{number}", "password": f"password-{number}", "host": "db.example.com", "port": 5432}
    return json.dumps({**document, "dbname": "shop"})


@pytest.fixture
def client(stand_in: Any, clean_environment: pytest.MonkeyPatch) -> Any:
    for name, value in stand_in.environment().items():
        clean_environment.setenv(name, value)
    made = stand_in.client()
    yield made
    made.close()


def rotate(client: Any, number: int) -> str:
    """What the four steps do at the store."""
    current = client.get_secret_value(SecretId=NAME)["VersionId"]
    token = new_token()
    client.put_secret_value(
        SecretId=NAME, ClientRequestToken=token, SecretString=written(number), VersionStages=["AWSPENDING"]
    )
    client.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
    )
    return token


def test_powertools_and_aws_own_cache_agree_with_us_after_each_rotation(stand_in, client):
    client.create_secret(Name=NAME, SecretString=written(0))
    source = AwsSecretsManager()
    service = SecretService(source, names=SecretNames("shop", "prod"))
    powertools = SecretsProvider(boto3_client=client)
    for number in range(4):
        if number:
            version = rotate(client, number)
            service.invalidate("database")
            assert service.get_version("database").version == version
        ours = service.get_database_credentials()
        assert ours.username == f"app_{number}"
        assert powertools.get(NAME, force_fetch=True) == source.fetch(NAME).text == written(number)
        theirs = powertools.get(NAME, transform="json", force_fetch=True)
        assert (theirs["username"], theirs["password"]) == (ours.username, ours.password.get_secret_value())
        fresh = SecretCache(SecretCacheConfig(), client)  # one that is warm has the old value for an hour
        assert fresh.get_secret_string(NAME) == written(number)
    service.close()


def test_labels_and_bytes_mean_the_same(stand_in, client):
    client.create_secret(Name=NAME, SecretString=written(0))
    rotate(client, 1)
    source = AwsSecretsManager()
    powertools = SecretsProvider(boto3_client=client)
    official = SecretCache(SecretCacheConfig(), client)
    for stage, number in (("AWSCURRENT", 1), ("AWSPREVIOUS", 0)):
        found = source.fetch(NAME, stage=stage)
        assert found.text == written(number)
        assert stage in found.stages
        assert powertools.get(NAME, VersionStage=stage, force_fetch=True) == found.text
        assert official.get_secret_string(NAME, version_stage=stage) == found.text
    client.create_secret(Name="bytes", SecretBinary=b"caf\xc3\xa9")
    assert source.fetch("bytes").text == "café"
    assert official.get_secret_binary("bytes") == "café".encode()
    source.close()


def test_many_at_once_are_what_each_is_by_itself(stand_in, client):
    names = [f"secret-{number}" for number in range(23)]
    for name in names:
        client.create_secret(Name=name, SecretString=f"value of {name}")
    source = AwsSecretsManager()
    found = source.fetch_many([*names, "absent"])
    assert stand_in.calls.count("BatchGetSecretValue") == 2
    powertools = SecretsProvider(boto3_client=client)
    assert [found[name].text for name in names] == [powertools.get(name) for name in names]
    assert [found[name].version for name in names] == [source.fetch(name).version for name in names]
    assert str(found["absent"]) == "secret absent: not_found (there is none of this name in this account and region)"
    source.close()


def test_a_secret_marked_for_deletion_is_not_found_until_it_is_restored(stand_in, client):
    client.create_secret(Name=NAME, SecretString=written(0))
    client.delete_secret(SecretId=NAME)
    source = AwsSecretsManager()
    found = source.fetch_many([NAME])[NAME]
    assert "restore-secret" in str(found)
    client.restore_secret(SecretId=NAME)
    assert source.fetch(NAME).text == written(0)
    source.close()
