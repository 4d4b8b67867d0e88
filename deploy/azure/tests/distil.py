"""Write resource_types.json: what Azure's resource types may hold, as far as our templates use them.

    python3 -m venv types && types/bin/pip install -r deploy/azure/tests/requirements.txt
    types/bin/python deploy/azure/tests/distil.py

The source is Microsoft's own libraries for Python, which are generated from the same specifications as the
documentation of Azure Resource Manager. Names, types, values, bounds, and what is required or read-only are kept, of
the classes that a property of ours leads to. Run it again when a template says something new.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from tests.deployments import every_deployment  # noqa: E402 - this is a script beside its package

# Type in the template: module of models below azure.mgmt, class, and the API version that the library speaks.
CLASSES = {
    "Microsoft.App/containerApps": ("appcontainers.models", "ContainerApp", "2025-07-01"),
    "Microsoft.App/jobs": ("appcontainers.models", "Job", "2025-07-01"),
    "Microsoft.App/managedEnvironments": ("appcontainers.models", "ManagedEnvironment", "2025-07-01"),
    "Microsoft.Authorization/locks": ("resource.locks.models", "ManagementLockObject", "2020-05-01"),
    "Microsoft.Authorization/roleAssignments": (
        "authorization.v2022_04_01.models",
        "RoleAssignmentCreateParameters",
        "2022-04-01",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers": ("postgresqlflexibleservers.models", "Server", "2025-08-01"),
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": (
        "postgresqlflexibleservers.models",
        "AdministratorMicrosoftEntraAdd",
        "2025-08-01",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations": (
        "postgresqlflexibleservers.models",
        "ConfigurationForUpdate",
        "2025-08-01",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": (
        "postgresqlflexibleservers.models",
        "Database",
        "2025-08-01",
    ),
    "Microsoft.Insights/actionGroups": ("monitor.models", "ActionGroupResource", "2023-01-01"),
    "Microsoft.Insights/metricAlerts": ("monitor.models", "MetricAlertResource", "2018-03-01"),
    "Microsoft.Insights/scheduledQueryRules": (
        "monitor.models",
        "ScheduledQueryRuleResource",
        "2023-12-01",
    ),
    "Microsoft.KeyVault/vaults": ("keyvault.models", "VaultCreateOrUpdateParameters", "2025-05-01"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi.v2024_11_30.models", "Identity", "2024-11-30"),
    "Microsoft.Network/networkSecurityGroups": ("network.models", "NetworkSecurityGroup", "2025-05-01"),
    "Microsoft.Network/privateDnsZones": ("privatedns.models", "PrivateZone", "2024-06-01"),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": (
        "privatedns.models",
        "VirtualNetworkLink",
        "2024-06-01",
    ),
    "Microsoft.Network/privateEndpoints": ("network.models", "PrivateEndpoint", "2025-05-01"),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": (
        "network.models",
        "PrivateDnsZoneGroup",
        "2025-05-01",
    ),
    "Microsoft.Network/virtualNetworks": ("network.models", "VirtualNetwork", "2025-05-01"),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics.models", "Workspace", "2025-07-01"),
    "Microsoft.Resources/deployments": ("resource.deployments.models", "Deployment", "2025-04-01"),
    "Microsoft.Web/serverfarms": ("web.models", "AppServicePlan", "2025-03-01"),
    "Microsoft.Web/sites": ("web.models", "Site", "2025-03-01"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "web.models",
        "CsmPublishingCredentialsPoliciesEntity",
        "2025-03-01",
    ),
}


def main() -> None:
    """Walk through every resource of every deployment, and note down each class on the way."""
    notes: dict[str, Any] = {}
    for resource in (one for _, deployment in every_deployment() for one in deployment.resources):
        if resource.kind in CLASSES:
            module, name, _ = CLASSES[resource.kind]
            _note(_class(module, name), resource.body, notes)
    document = {
        "source": {one: version(one) for one in re.findall(r"^([\w-]+)==", _requirements(), re.MULTILINE)},
        "types": {kind: {"apiVersion": api, "class": _key(_class(m, n))} for kind, (m, n, api) in CLASSES.items()},
        "classes": dict(sorted(notes.items())),
    }
    (HERE / "resource_types.json").write_text(_written(document, 3) + "\n")


def _written(value: Any, levels: int) -> str:
    """Write a line for each property of a class, so that a difference can be read."""
    if levels == 0 or not isinstance(value, dict):
        return json.dumps(value)
    lines = (f"{json.dumps(name)}: {_written(one, levels - 1)}" for name, one in value.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def _requirements() -> str:
    return (HERE / "requirements.txt").read_text()


def _class(module: str, name: str) -> type:
    found: type = getattr(importlib.import_module(f"azure.mgmt.{module}"), name)
    return found


def _key(model: type) -> str:
    return f"{model.__module__.removeprefix('azure.mgmt.').partition('.models')[0]}:{model.__name__}"


def _note(model: type, body: Mapping[str, Any], notes: dict[str, Any]) -> None:
    """Note what `model` may hold, and go on into what `body` says of it."""
    model = _kind_of(model, body, notes)
    described = notes.setdefault(_key(model), {})
    for path, rule in _rules(model):
        place = described
        for word in path[:-1]:
            place = place.setdefault(word, {"object": {}})["object"]
        place[path[-1]] = {key: value for key, value in rule.items() if value is not None and key != "model"}
        inner: Any = body
        for word in path:
            inner = inner.get(word) if isinstance(inner, Mapping) else None
        if rule.get("model") is not None and inner is not None:
            for one in _each(inner, rule):
                _note(rule["model"], one, notes)


def _each(inner: Any, rule: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    many = inner if rule.get("many") == "list" else inner.values() if rule.get("many") == "map" else [inner]
    yield from (one for one in many if isinstance(one, Mapping))


def _kind_of(model: type, body: Mapping[str, Any], notes: dict[str, Any]) -> type:
    """Return the class that a word in the body chooses, where there are several, and note down how."""
    for attribute, choices in getattr(model, "_subtype_map", {}).items():
        word = model._attribute_map[attribute]["key"].replace("\\.", ".")  # type: ignore[attr-defined]
        chosen = choices.get(body.get(word))
        if chosen and chosen != model.__name__:
            found = getattr(inspect.getmodule(model), chosen)
            notes.setdefault(_key(model), {"": {"by": word, "kinds": {}}})[""]["kinds"][body[word]] = _key(found)
            return _kind_of(found, body, notes)
    return model


def _rules(model: Any) -> Iterator[tuple[list[str], dict[str, Any]]]:
    yield from (_old_rules if hasattr(model, "_attribute_map") else _new_rules)(model)


def _old_rules(model: Any) -> Iterator[tuple[list[str], dict[str, Any]]]:
    for attribute, place in model._attribute_map.items():
        if not place["key"]:  # whatever else somebody may think of: we do not
            continue
        checks = model._validation.get(attribute, {})
        told = _told(model, attribute)
        many, kind = None, place["type"]
        if kind[0] in "[{":
            many, kind = ("list" if kind[0] == "[" else "map"), kind[1:-1]
        inner = getattr(inspect.getmodule(model), kind, None)
        known = re.search(r"(?:Known values are|Possible values include):\s*(.*?\"\.)", told)
        yield (
            [word.replace("\0", ".") for word in place["key"].replace("\\.", "\0").split(".")],
            {
                "type": _key(inner) if inner else kind,
                "many": many,
                "model": inner,
                "required": checks.get("required"),
                "readonly": checks.get("readonly"),
                "values": re.findall(r'"([^"]*)"', known[1]) if known else None,
                "least": _number(told, "Minimum"),
                "most": _number(told, "Maximum"),
            },
        )


def _told(model: Any, attribute: str) -> str:
    for one in model.__mro__:
        found = re.search(rf":ivar {attribute}: (.*?)\n\s*:vartype", one.__doc__ or "", re.DOTALL)
        if found:
            return re.sub(r"\s+", " ", found[1])
    return ""


def _number(told: str, word: str) -> int | None:
    found = re.search(rf"{word} value is (\d+)", told)
    return int(found[1]) if found else None


def _new_rules(model: Any) -> Iterator[tuple[list[str], dict[str, Any]]]:
    model({})  # the first instance makes the list of fields
    models = importlib.import_module(model.__module__.rpartition("._")[0])
    names = {**vars(sys.modules[model.__module__]), "_models": models}
    hints = typing.get_type_hints(model, globalns=names)
    for attribute, one in model._attr_to_rest_field.items():
        hint, many = hints[attribute], None
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        required = type(None) not in typing.get_args(hint)
        if typing.get_origin(hint) is typing.Union:
            hint = next((part for part in parts if inspect.isclass(part) and issubclass(part, Enum)), parts[0])
        if typing.get_origin(hint) in (list, dict):
            many = "list" if typing.get_origin(hint) is list else "map"
            hint = typing.get_args(hint)[-1]
        is_model = inspect.isclass(hint) and hint.__module__.endswith("._models")
        is_choice = inspect.isclass(hint) and issubclass(hint, Enum)
        yield (
            [one._rest_name],
            {
                "type": _key(hint) if is_model else "str" if is_choice else "object" if hint is Any else hint.__name__,
                "many": many,
                "model": hint if is_model else None,
                "required": required or None,
                "readonly": one._visibility == ["read"] or None,
                "values": [choice.value for choice in hint] if is_choice else None,
            },
        )


if __name__ == "__main__":
    main()
