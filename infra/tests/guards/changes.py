"""Changes of templates, for tests of what has to be noticed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tegata_infra.assembly import Assembly

Change = Callable[[dict[str, Any]], None]
"""Alters the resources of one template."""


def find(resources: dict[str, Any], kind: str, **wanted: Any) -> dict[str, Any]:
    """Return the properties of a resource of that type."""
    for resource in resources.values():
        properties = resource.get("Properties", {})
        if resource["Type"] == kind and all(properties.get(key) == value for key, value in wanted.items()):
            return dict.setdefault(resource, "Properties", properties)
    raise AssertionError(f"there is no {kind}")


def change(assembly: Assembly, stack: str, alter: Change, directory: Path | None = None) -> Assembly:
    """Return the assembly with one template altered; `alter` gets its resources."""
    templates = {name: copy.deepcopy(dict(body)) for name, body in assembly.templates.items()}
    name = next(one for one in templates if one.endswith(stack))
    alter(templates[name]["Resources"])
    return Assembly(directory or assembly.directory, templates)


def add(kind: str, **properties: Any) -> Change:
    """Return a change that adds a resource."""
    return lambda resources: resources.update(Added={"Type": kind, "Properties": properties})


def put(kind: str, path: tuple[str | int, ...], value: Any, **wanted: Any) -> Change:
    """Return a change of one value inside a resource."""

    def alter(resources: dict[str, Any]) -> None:
        place: Any = find(resources, kind, **wanted)
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return alter


def allow(action: str, resource: Any, **more: Any) -> Change:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return add("AWS::IAM::Policy", PolicyName="more", PolicyDocument={"Statement": [statement]}, Roles=[])


def enter(group: str, **peer: Any) -> Change:
    """Return a change that lets somebody into a group of the network."""

    def alter(resources: dict[str, Any]) -> None:
        found = next(name for name, body in resources.items() if body.get("Properties", {}).get("GroupName") == group)
        port = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **peer}
        add("AWS::EC2::SecurityGroupIngress", GroupId={"Fn::GetAtt": [found, "GroupId"]}, **port)(resources)

    return alter


def leave(group: str, **peer: Any) -> Change:
    def alter(resources: dict[str, Any]) -> None:
        found = next(body for body in resources.values() if body.get("Properties", {}).get("GroupName") == group)
        rules = found["Properties"].setdefault("SecurityGroupEgress", [])
        rules.append({"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, **peer})

    return alter


def drop(kind: str, key: str, **wanted: Any) -> Change:
    return lambda resources: find(resources, kind, **wanted).pop(key) and None
