"""What the templates give to Tegata is what Tegata takes: variables, their values, and commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer.main

from tegata.cli.main import app
from tegata.crypto.envelope import new_master_key
from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, MIGRATOR
from tegata.postgres.target import ConnectionTarget
from tegata.settings import Settings, SettingsError, check_for_production, unknown_names

from .deployments import every_deployment
from .templates import AZURE, Resource, client_id, deployed, object_id

# What Azure itself reads of App Service's settings.
_OF_APP_SERVICE = {"WEBSITES_PORT", "WEBSITES_ENABLE_APP_SERVICE_STORAGE"}
LOGINS = {
    "bootstrap": ("bootstrap_database_url", "tegata-production-bootstrap", "bootstrap"),
    "migrate": ("migration_database_url", MIGRATOR, "migrator"),
    "doctor": ("migration_database_url", MIGRATOR, "migrator"),
    "worker": ("maintenance_database_url", MAINTENANCE, "worker"),
    "server": ("database_url", APPLICATION, "app"),
}


def environment_of(written: list[dict[str, str]]) -> dict[str, str]:
    """Return what a process finds, with a key where the vault's would be."""
    values = {one["name"]: one.get("value", f"secretRef {one.get('secretRef')}") for one in written}
    if "TEGATA_MASTER_KEY" in values:
        assert values["TEGATA_MASTER_KEY"].startswith(("secretRef master-key", "@Microsoft.KeyVault("))
        values["TEGATA_MASTER_KEY"] = new_master_key()
    return values


def every_process() -> list[tuple[Resource, str, dict[str, str], list[str]]]:
    """Return resource, name, environment and command of every process of every deployment."""
    found = []
    for _, deployment in every_deployment():
        for one in deployment.resources:
            for container in one.properties.get("template", {}).get("containers", []):
                command = [*container["command"], *container["args"]]
                found.append((one, container["name"], environment_of(container["env"]), command))
            if one.kind == "Microsoft.Web/sites":
                site = one.properties["siteConfig"]
                settings = {n: v for n, v in environment_of(site["appSettings"]).items() if n not in _OF_APP_SERVICE}
                # App Service appends its command to the image's entry point; Container Apps replace that.
                found.append((one, "server", settings, ["tegata", *site["appCommandLine"].split()]))
    return found


def test_each_variable_is_a_setting_and_each_value_is_accepted() -> None:
    names = set()
    for _, name, environment, _ in every_process():
        assert unknown_names(environment) == []
        assert all(variable.startswith("TEGATA_") for variable in environment)
        settings = Settings.from_environment(environment)
        assert settings.database_auth == "managed_identity"
        assert settings.environment == "production"
        names.add(name)
    assert names == set(LOGINS)


def test_the_server_would_start_with_these_settings() -> None:
    """`tegata serve` refuses what is unsafe in production before it does anything else."""
    servers = [environment for _, name, environment, _ in every_process() if name == "server"]
    assert len(servers) > 10
    for environment in servers:
        check_for_production(Settings.from_environment(environment))
    spoilt = {**servers[0], "TEGATA_BASE_URL": "http://id.example.com"}
    with pytest.raises(SettingsError):
        check_for_production(Settings.from_environment(spoilt))


def test_each_process_logs_in_as_its_role_with_its_identity_over_checked_tls() -> None:
    seen = set()
    for resource, name, environment, _ in every_process():
        if "production" not in resource.name:
            continue
        field, role, identity = LOGINS[name]
        settings = Settings.from_environment(environment)
        assert settings.database_azure_client_id == client_id(f"tegata-production-{identity}")
        urls = {one for one in Settings.model_fields if one.endswith("database_url") and getattr(settings, one)}
        assert urls == {field}
        target = ConnectionTarget.from_url(getattr(settings, field).get_secret_value())
        assert (target.user, target.database, target.password) == (role, "tegata", None)
        assert target.host.endswith(".postgres.database.azure.com")
        assert dict(target.options) == {"sslmode": "verify-full"}
        seen.add(name)
    assert seen == set(LOGINS)


def test_the_database_that_urls_name_is_the_one_that_is_made() -> None:
    for environment in ("dev", "staging", "production"):
        foundation = deployed("foundation", environment)
        host = foundation.outputs["server"]
        name = foundation.one("Microsoft.DBforPostgreSQL/flexibleServers/databases").name.partition("/")[2]
        text = json.dumps([dict(one.body) for one in deployed("application", environment).resources])
        assert text.count(f"@{host}/{name}?") == 5


def test_the_bootstrap_maps_each_role_to_the_identity_of_its_process() -> None:
    job = deployed("application", "production").one("Microsoft.App/jobs", "-bootstrap")
    arguments = job.properties["template"]["containers"][0]["args"]
    given = dict(zip(arguments[4::2], arguments[5::2], strict=True))
    # The object (principal) ids, not the client ids: those the database does not know.
    assert given == {
        "--app-object-id": object_id("tegata-production-app"),
        "--maintenance-object-id": object_id("tegata-production-worker"),
        "--migrator-object-id": object_id("tegata-production-migrator"),
    }


def test_each_command_is_one_of_tegatas_with_options_that_it_has() -> None:
    lines = {(name, *command) for _, name, _, command in every_process()}
    assert {program for _, program, *_ in lines} == {"tegata"}
    assert {(name, _parsed(words)) for name, _, *words in lines} == {
        ("bootstrap", "db bootstrap"),
        ("migrate", "migrate"),
        ("doctor", "doctor"),
        ("worker", "worker"),
        ("server", "serve"),
    }


def test_the_image_starts_with_the_word_that_commands_begin_with_and_can_ask_azure_for_tokens() -> None:
    repository = AZURE.parent.parent
    assert 'ENTRYPOINT ["tegata"]' in (repository / "deploy/image/Dockerfile").read_text()
    assert "azure-identity" in (repository / "requirements/image.txt").read_text()


def _parsed(words: list[str]) -> str:
    """Parse a command line as the program would, without running it, and return the command's name."""
    command: Any = typer.main.get_command(app)
    path: list[str] = []
    while hasattr(command, "commands"):
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    command.make_context(" ".join(path), list(words))  # raises for what the command does not take
    return " ".join(path)


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({}, "https://tegata-production-server.kindhill-0123abcd.japaneast.azurecontainerapps.io"),
        ({"hostName": "id.example.com"}, "https://id.example.com"),
        ({"hostName": "id.example.com", "compute": "appService"}, "https://id.example.com"),
    ],
)
def test_clients_reach_the_server_where_it_says_it_is(more: dict[str, str], address: str) -> None:
    made = deployed("application", "production", **more)
    assert made.outputs["baseUrl"] == address
    told = {environment["TEGATA_BASE_URL"] for environment in _servers(made.resources)}
    assert told == {address}


def _servers(resources: list[Resource]) -> list[dict[str, str]]:
    lists = [
        container["env"]
        for one in resources
        for container in one.properties.get("template", {}).get("containers", [])
        if container["name"] == "server"
    ] + [one.properties["siteConfig"]["appSettings"] for one in resources if one.kind == "Microsoft.Web/sites"]
    assert len(lists) == 1
    return [environment_of(written) for written in lists]
