"""Every resource of every deployment against the types that Microsoft publishes: names, kinds, values, what is needed.

What resource_types.json holds, and where it comes from, says distil.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .deployments import every_deployment
from .templates import Resource, deployed

TYPES = json.loads((Path(__file__).parent / "resource_types.json").read_text())
# The libraries have no class for this any more; read in "Microsoft.Insights diagnosticSettings" of the ARM template
# reference.
BY_HAND: dict[str, tuple[str, set[str]]] = {
    "Microsoft.Insights/diagnosticSettings": ("2021-05-01-preview", {"workspaceId", "logs", "metrics"}),
}
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "duration": (str,),
    "object": (object,),
}


def problems(resource: Resource) -> list[str]:
    """Return what is wrong with a resource, each with its place in it."""
    if resource.kind in BY_HAND:
        version, names = BY_HAND[resource.kind]
        wrong = sorted(set(resource.properties) - names)
        return [*wrong, *([] if resource.api_version == version else [resource.api_version])]
    published = TYPES["types"].get(resource.kind)
    if published is None:
        return [f"the type {resource.kind} is not known here"]
    found = list(_of_class(published["class"], resource.body, ""))
    if resource.api_version != published["apiVersion"]:
        found.append(f"apiVersion {resource.api_version}: {published['apiVersion']} was looked at")
    return found


def _of_class(name: str, body: Any, place: str) -> Iterator[str]:
    rules = TYPES["classes"].get(name)
    if rules is None:
        yield f"{place}: {name} is not known here; run distil.py again"
    elif "" in rules and isinstance(body, Mapping):  # a word in the body chooses among classes
        by, kinds = rules[""]["by"], rules[""]["kinds"]
        yield from _of_class(kinds.get(body.get(by), f"{by} {body.get(by)}"), body, place)
    else:
        yield from _of(rules, body, place)


def _of(rules: Mapping[str, Any], body: Any, place: str) -> Iterator[str]:
    if not isinstance(body, Mapping):
        yield f"{place} is no object"
        return
    for name, rule in rules.items():
        if rule.get("required") and not rule.get("readonly") and name not in body:
            yield f"{place}.{name} is required"
    for name, value in body.items():
        if value is None:  # as if it were not there
            continue
        if name not in rules:
            yield f"{place}.{name} is no property"
        elif rules[name].get("readonly"):
            yield f"{place}.{name} is read-only"
        else:
            yield from _value(rules[name], value, f"{place}.{name}")


def _value(rule: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    if "object" in rule:
        yield from _of(rule["object"], value, place)
        return
    many = rule.get("many")
    if many and not isinstance(value, list if many == "list" else dict):
        yield f"{place} is no {many}"
        return
    for one in value if many == "list" else value.values() if many == "map" else [value]:
        yield from _single(rule, one, place)


def _single(rule: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    kinds = _KINDS.get(rule["type"])
    if kinds is None:
        yield from _of_class(rule["type"], value, place)
    elif not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
        yield f"{place}: {value!r} is no {rule['type']}"
    elif "values" in rule and str(value).lower() not in map(
        str.lower, rule["values"]
    ):  # as Microsoft's libraries compare
        yield f"{place}: {value!r} is none of {', '.join(rule['values'])}"
    elif not rule.get("least", value) <= value <= rule.get("most", value):
        yield f"{place}: {value!r} is out of bounds"


def test_everything_that_is_asked_for_exists() -> None:
    wrong = {
        f"{one.kind} {one.name}{problem}"
        for _, deployment in every_deployment()
        for one in deployment.resources
        for problem in problems(one)
    }
    assert wrong == set()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"properties": {"version": "17", "sslEnforcement": "Enabled"}}, ".properties.sslEnforcement is no property"),
        ({"properties": {"authConfig": {"passwordAuth": "Off"}}}, ".passwordAuth: 'Off' is none of Enabled, Disabled"),
        ({"properties": {"storage": {"storageSizeGB": "32"}}}, ".storageSizeGB: '32' is no int"),
        ({"properties": {"state": "Ready"}}, ".properties.state is read-only"),
        ({"location": 7}, ".location: 7 is no str"),
        ({"sku": {"name": "Standard_B1ms"}}, ".sku.tier is required"),
    ],
)
def test_what_does_not_exist_is_found(change: dict[str, Any], told: str) -> None:
    server = deployed("foundation", "dev").one("Microsoft.DBforPostgreSQL/flexibleServers")
    assert problems(server) == []
    spoilt = Resource(server.kind, server.name, server.api_version, server.group, {**server.body, **change})
    assert [problem for problem in problems(spoilt) if problem.endswith(told)], problems(spoilt)


def test_a_property_deep_inside_is_checked_as_well() -> None:
    server = deployed("application", "dev").one("Microsoft.App/containerApps", "-server")
    spoilt = json.loads(json.dumps(dict(server.body)))
    spoilt["properties"]["template"]["containers"][0]["probes"][0]["failureThreshold"] = 30
    changed = Resource(server.kind, server.name, server.api_version, server.group, spoilt)
    assert problems(changed) == [".properties.template.containers.probes.failureThreshold: 30 is out of bounds"]
