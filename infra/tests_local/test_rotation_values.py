"""What CloudFormation puts into new secrets is what their readers take: the server's parser, the kit's models."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from typing import Any

import pytest
from deployed import REGION, Deployed

from tegata.crypto.envelope import Envelope
from tegata.settings.references import resolve
from tegata_credentials.secret_service.models import ExternalApiCredentials
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.sources.references import ReferencedSecrets
from tegata_credentials.testing.secrets_manager import StandIn

# Of which GetRandomPassword makes passwords, unless it is told to leave some out (API Reference, GetRandomPassword).
SIGNS = string.ascii_letters + string.digits + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
PLACE = {"engine": "postgres", "host": "127.0.0.1", "port": 5432, "dbname": "idpserver"}


@pytest.fixture(scope="module")
def production() -> Deployed:
    return Deployed.read("production")


@pytest.fixture(scope="module")
def made(production: Deployed) -> Iterator[Any]:
    with StandIn(region=REGION) as store:
        client = store.client()
        production.make_secrets(client, PLACE)
        yield client
        client.close()


def variables_of(production: Deployed, program: str) -> dict[str, str]:
    """Return what a container of the service is told."""
    for task in production.all("AWS::ECS::TaskDefinition"):
        for container in task.properties["ContainerDefinitions"]:
            if container.get("Command") == [program]:
                return {each["Name"]: each["Value"] for each in container["Environment"]}
    raise LookupError(program)


def test_the_server_takes_each_of_1000_keys_that_may_be_generated(production: Deployed) -> None:
    secret = production.one("AWS::SecretsManager::Secret", Name="idp-server/api-credentials")
    wanted = secret.properties["GenerateSecretString"]
    alphabet = [sign for sign in SIGNS if sign not in wanted["ExcludeCharacters"]]
    assert wanted["RequireEachIncludedType"] is False
    chosen = random.Random(6)
    values = {"".join(chosen.choices(alphabet, k=wanted["PasswordLength"])) for _ in range(1000)}
    assert len(values) == 1000
    for value in [*values, "-" * 43, "_" * 43, "A" * 43, "9" * 43]:
        envelope = Envelope.from_text(value)
        assert envelope.open(envelope.seal(b"x", tenant="t", purpose="p"), tenant="t", purpose="p") == b"x"


@pytest.mark.parametrize("length", [42, 44, 64])
def test_no_other_length_would_do(length: int) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|not base64url"):
        Envelope.from_text("B" * length)


@pytest.mark.parametrize("program", ["serve", "worker"])
def test_the_reference_that_containers_are_given_leads_to_the_key(
    production: Deployed, made: Any, program: str
) -> None:
    reference = variables_of(production, program)["TEGATA_MASTER_KEY"]
    assert reference.endswith("#encryption_key")
    values, problems = resolve(
        {"TEGATA_MASTER_KEY": reference}, {}, ReferencedSecrets({"awssm": AwsSecretsManager(made)})
    )
    assert problems == []
    assert Envelope.from_text(values["TEGATA_MASTER_KEY"])
    held = json.loads(made.get_secret_value(SecretId="idp-server/api-credentials")["SecretString"])
    assert values == {"TEGATA_MASTER_KEY": held["encryption_key"]}
    assert set(held) == {"api_key", "encryption_key"}


def test_who_is_given_to_clients_is_not_who_seals_keys(made: Any) -> None:
    names = ("idp-server/api-credentials", "idp-server/api-client-credentials")
    tegata, client = (json.loads(made.get_secret_value(SecretId=name)["SecretString"]) for name in names)
    assert set(client) == {"api_key", "api_secret"}
    assert len(client["api_secret"]) == 43
    assert client["api_secret"] not in tegata.values()


def test_the_login_that_needs_no_password_has_none(made: Any) -> None:
    held = json.loads(made.get_secret_value(SecretId="tegata-production-secret-database")["SecretString"])
    assert held == {**PLACE, "username": "tegata_app", "authentication": "iam"}


def test_credentials_of_other_services_may_be_empty(made: Any) -> None:
    text = made.get_secret_value(SecretId="tegata-production-secret-external-apis")["SecretString"]
    assert ExternalApiCredentials.model_validate_json(text).ses is None
