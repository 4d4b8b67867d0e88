"""The templates by themselves: everything in them is declared, used, computed early enough and in its place."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .deployments import NAMES, every_deployment
from .expressions import TemplateError
from .templates import AZURE, DIGEST, ENVIRONMENTS, Template, deployed


@pytest.mark.parametrize("name", NAMES)
def test_what_is_declared_is_used_and_what_is_used_is_declared(name: str) -> None:
    used: set[tuple[str, str]] = set()
    for template, deployment in every_deployment():
        if template.document == Template.read(name).document:
            assert deployment.resources
            assert deployment.outputs
            used |= template.used
    document = Template.read(name).document
    for kind in ("parameters", "variables"):
        assert {found for found in used if found[0] == kind} == {(kind, declared) for declared in document[kind]}


def test_every_resource_has_a_name_of_its_own_and_depends_on_what_is_there() -> None:
    for template, deployment in every_deployment():
        ids = [resource.id for resource in deployment.resources]
        assert len(ids) == len(set(ids))
        loops = {written["copy"]["name"] for written in template.document["resources"] if "copy" in written}
        for resource in deployment.resources:
            assert set(resource.depends_on) <= {*ids, *loops}, resource.name
            # Azure does not look for itself whether what a diagnostic setting, a role or a lock is set on is there.
            if resource.scope:
                assert f"{resource.group}/providers/{resource.scope}" in {*resource.depends_on, *_registries(resource)}


def _registries(resource: Any) -> set[str]:
    """What exists before: the registry."""
    return {f"{resource.group}/providers/Microsoft.ContainerRegistry/registries/examplecorp"}


def test_what_is_looked_up_in_the_same_deployment_is_made_before() -> None:
    """Whoever says `reference()` of a loop's resource waits for the loop: Azure infers that for single ones alone."""
    document = Template.read("foundation").document
    for written in document["resources"]:
        if "reference(resourceId('Microsoft.ManagedIdentity" in json.dumps(written):
            assert "identities" in written["dependsOn"], written["name"]


def test_both_templates_give_the_same_names() -> None:
    for environment in ENVIRONMENTS:
        first, second = deployed("foundation", environment).variables, deployed("application", environment).variables
        for name in set(first) & set(second) - {"tags"}:
            assert first[name] == second[name], name
        made = {resource.id for resource in deployed("foundation", environment).resources}
        text = json.dumps([dict(resource.body) for resource in deployed("application", environment).resources])
        for kind in ("Microsoft.ManagedIdentity/userAssignedIdentities", "Microsoft.App/managedEnvironments"):
            for found in set(re.findall(rf'"(/subscriptions/[^"]*/providers/{kind}/[^"]+)"', text)):
                assert found in made


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_names_keep_to_azures_rules(environment: str) -> None:
    """Azure documentation, "Naming rules and restrictions for Azure resources"; with the longest name of ours."""
    longest = {"name": "tegata-idp"}
    rules = {
        "Microsoft.KeyVault/vaults": r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
        "Microsoft.DBforPostgreSQL/flexibleServers": r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
        "Microsoft.App/containerApps": r"[a-z](?!.*--)[a-z0-9-]{0,30}[a-z0-9]",
        "Microsoft.App/jobs": r"[a-z](?!.*--)[a-z0-9-]{0,30}[a-z0-9]",
        "Microsoft.App/managedEnvironments": r"[a-z][a-z0-9-]{0,58}[a-z0-9]",
        "Microsoft.ManagedIdentity/userAssignedIdentities": r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}",
        "Microsoft.Web/sites": r"[a-z0-9][a-z0-9-]{0,58}[a-z0-9]",
    }
    seen = set()
    for name, more in (("foundation", {}), ("application", {}), ("application", {"compute": "appService"})):
        for resource in deployed(name, environment, **more, **longest).resources:
            if resource.kind in rules:
                seen.add(resource.kind)
                assert re.fullmatch(rules[resource.kind], resource.name), resource.name
    assert seen == set(rules)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("foundation", {"environment": "test"}),
        ("foundation", {"alertEmails": []}),
        ("foundation", {"name": "ab"}),
        ("foundation", {"name": "much-too-long"}),
        ("foundation", {"postgresVersion": "18"}),
        ("foundation", {"backupRetentionDays": 3}),
        ("application", {"minReplicas": 1}),
        ("application", {"imageDigest": "latest"}),
        ("application", {"compute": "virtualMachines"}),
        ("application", {"poolSize": "10"}),
        ("application", {"masterKey": "x"}),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(TemplateError):
        deployed(name, "dev", **given)


def test_each_parameter_is_described_and_bounded() -> None:
    for name in NAMES:
        for parameter, rules in Template.read(name).document["parameters"].items():
            assert rules["metadata"]["description"].endswith("."), parameter
            # A text that may be empty, an object of anybody's and a yes or no need no bounds.
            optional = rules.get("defaultValue") in ("", {}) or rules["type"] == "bool"
            assert optional or set(rules) & {"allowedValues", "minLength", "minValue"}, parameter


def test_the_image_is_named_by_its_digest() -> None:
    images = re.findall(r'"(?:DOCKER\|)?(examplecorp\.azurecr\.io/[^"]*)"', _everything())
    assert len(images) > 10
    assert {image.partition("@")[2] for image in images} == {DIGEST}


def test_no_parameter_and_no_output_is_a_secret() -> None:
    for name in NAMES:
        document = Template.read(name).document
        assert not [one for one in document["parameters"].values() if one["type"].startswith("secure")]
        for word in ("listKeys", "listSecrets", "listCredentials", "getSecret"):
            assert word not in json.dumps(document)
        for output in document["outputs"]:
            assert output in {"server", "vault", "masterKeyUri", "defaultDomain", "addressForDns", "baseUrl", "image"}
    # Where a value of the kind is needed, it is named and read by an identity.
    for found in re.findall(r'"name": "TEGATA_MASTER_KEY", "(\w+)": "([^"]*)"', _everything()):
        assert found[0] == "secretRef" or found[1].startswith("@Microsoft.KeyVault(SecretUri=https://")


def _everything() -> str:
    return "".join(json.dumps([dict(one.body) for one in made.resources]) for _, made in every_deployment())


def test_the_files_are_plain_json_in_one_form() -> None:
    for path in (*AZURE.glob("*.json"), *AZURE.glob("environments/*/*.json")):
        text = path.read_text()
        assert text.endswith("}\n")
        assert "\t" not in text
        json.loads(text)
