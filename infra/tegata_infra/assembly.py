"""CloudFormation templates as plain data: find resources, follow references, say what was there instead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Resource:
    """One resource: in which stack, under which logical id, of which type, with which properties."""

    stack: str
    id: str
    type: str
    body: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        return self.body.get("Properties", {})

    def __getitem__(self, name: str) -> Any:
        return self.properties[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.properties.get(name, default)

    @property
    def tags(self) -> dict[str, str]:
        given = self.properties.get("Tags", [])
        return dict(given) if isinstance(given, dict) else {tag["Key"]: tag["Value"] for tag in given}


@dataclass(frozen=True)
class Assembly:
    """All templates of one deployment in one environment; stacks are named by their last word: `Network`, ..."""

    directory: Path
    templates: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, directory: Path) -> Assembly:
        files = sorted(directory.glob("*.template.json"))
        found = {file.name.removesuffix(".template.json"): json.loads(file.read_text()) for file in files}
        return cls(directory, found)

    @cached_property
    def resources(self) -> list[Resource]:
        return [
            Resource(stack, name, body["Type"], body)
            for stack, template in self.templates.items()
            for name, body in template.get("Resources", {}).items()
        ]

    @cached_property
    def exports(self) -> dict[str, tuple[str, Any]]:
        """What stacks export: the stack and the value for each name of an export."""
        return {
            output["Export"]["Name"]: (stack, output["Value"])
            for stack, template in self.templates.items()
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }

    def all(self, kind: str, **properties: Any) -> list[Resource]:
        """Return the resources of a type (`AWS::EC2::VPC`) whose properties have these values."""
        return [
            resource
            for resource in self.resources
            if resource.type == kind and all(resource.get(key) == value for key, value in properties.items())
        ]

    def one(self, kind: str, **properties: Any) -> Resource:
        """Return the only one. Fails with what is there instead."""
        found = self.all(kind, **properties)
        others = [resource.id for resource in self.all(kind)]
        assert len(found) == 1, f"{len(found)} of {kind} with {properties}; of that type there are {others}"
        return found[0]

    def follow(self, stack: str, value: Any) -> tuple[str, str] | None:
        """Return the stack and the logical id that a value refers to, through exports; None for a plain value."""
        if not isinstance(value, dict):
            return None
        if "Ref" in value:
            return (stack, value["Ref"]) if value["Ref"] in self.templates[stack].get("Resources", {}) else None
        if "Fn::GetAtt" in value:
            return stack, value["Fn::GetAtt"][0]
        if "Fn::ImportValue" in value:
            origin, exported = self.exports[value["Fn::ImportValue"]]
            return self.follow(origin, exported)
        return None

    def find(self, stack: str, value: Any) -> Resource | None:
        """Return the resource that a value refers to."""
        place = self.follow(stack, value)
        if place is None:
            return None
        return next(resource for resource in self.resources if (resource.stack, resource.id) == place)


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value inside a template with the way to it."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from walk(inner, (*path, str(key)))
