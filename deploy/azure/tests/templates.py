"""What a deployment of a template with a file of parameters would ask Azure to make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from .expressions import GROUP, Scope, TemplateError

AZURE = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ("dev", "staging", "production")
DIGEST = "sha256:" + "0123456789abcdef" * 4
# What a person adds on the command line, beside the file of the environment.
TYPED: dict[str, dict[str, Any]] = {
    "foundation": {
        "registryName": "examplecorp",
        "registryResourceGroup": "shared",
        "alertEmails": ["ops@example.com"],
    },
    "application": {"registryName": "examplecorp", "parts": "all", "imageDigest": DIGEST},
}
_KINDS: dict[str, Any] = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}


def object_id(name: str) -> str:
    """Return the object (principal) id that the stand-in for Entra gives an identity."""
    return str(uuid5(NAMESPACE_OID, f"object {name}"))


def client_id(name: str) -> str:
    """Return its client id, which is another one."""
    return str(uuid5(NAMESPACE_OID, f"client {name}"))


def known(resource_id: str) -> Mapping[str, Any]:
    """Stand in for what Azure knows of a resource when a deployment refers to it."""
    kind, name = resource_id.rpartition("/providers/")[2].rsplit("/", 1)
    found: dict[str, dict[str, Any]] = {
        "Microsoft.ManagedIdentity/userAssignedIdentities": {
            "principalId": object_id(name),
            "clientId": client_id(name),
        },
        "Microsoft.App/managedEnvironments": {
            "defaultDomain": "kindhill-0123abcd.japaneast.azurecontainerapps.io",
            "staticIp": "203.0.113.7",
        },
        "Microsoft.DBforPostgreSQL/flexibleServers": {
            "fullyQualifiedDomainName": f"{name}.postgres.database.azure.com"
        },
        "Microsoft.KeyVault/vaults": {"vaultUri": f"https://{name}.vault.azure.net/"},
    }
    return found[kind]


@dataclass(frozen=True)
class Resource:
    """One resource of a deployment, everything computed."""

    kind: str
    name: str
    api_version: str
    group: str
    body: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    scope: str = ""

    @property
    def id(self) -> str:
        """Where it is, below its resource group."""
        space, *kinds = self.kind.split("/")
        names = self.name.split("/")
        path = "/".join([space, *(word for pair in zip(kinds, names, strict=True) for word in pair)])
        return f"{self.group}/providers/{self.scope + '/providers/' if self.scope else ''}{path}"

    @property
    def properties(self) -> Mapping[str, Any]:
        """The greater part of it."""
        found: Mapping[str, Any] = self.body.get("properties", {})
        return found


@dataclass
class Template:
    """A template as it is written."""

    document: Mapping[str, Any]
    group: str = GROUP
    used: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def read(cls, name: str) -> Template:
        """Read one of ours."""
        return cls(json.loads((AZURE / f"{name}.json").read_text()))

    def deploy(self, **given: Any) -> Deployment:
        """Return what Azure would make. Raises `TemplateError` for parameters that are refused."""
        return Deployment(self, self._checked(given))

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        declared = self.document["parameters"]
        if unknown := sorted(set(given) - set(declared)):
            raise TemplateError(f"there is no parameter {', '.join(unknown)}")
        values = {}
        for name, rules in declared.items():
            if name not in given and "defaultValue" not in rules:
                raise TemplateError(f"the parameter {name} has no value")
            # A default may look at the resource group, and at nothing else that ours use.
            value = given[name] if name in given else Scope({}, group=self.group).evaluate(rules["defaultValue"])
            _check_value(name, rules, value)
            values[name] = value
        return values


def _check_value(name: str, rules: Mapping[str, Any], value: Any) -> None:
    kind = _KINDS[rules["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TemplateError(f"{name} is no {rules['type']}")
    if "allowedValues" in rules and value not in rules["allowedValues"]:
        raise TemplateError(f"{name}: {value!r} is not allowed")
    size: int = value if kind in (int, bool) else len(value)
    least, most = rules.get("minValue", rules.get("minLength")), rules.get("maxValue", rules.get("maxLength"))
    if (least is not None and size < least) or (most is not None and size > most):
        raise TemplateError(f"{name}: {value!r} is too small or too large")


class Deployment:
    """The resources and outputs of a template with these parameters."""

    def __init__(self, template: Template, parameters: Mapping[str, Any]) -> None:
        self._template = template
        self._parameters = parameters

    def _scope(self, *, early: bool = False) -> Scope:
        # Names, conditions and the number of rounds are needed before anything is made: no reference() there.
        document = self._template.document
        return Scope(
            self._parameters,
            document.get("variables", {}),
            None if early else known,
            group=self._template.group,
            used=self._template.used,
        )

    @cached_property
    def variables(self) -> dict[str, Any]:
        """Every variable."""
        scope = self._scope(early=True)
        return {name: scope.evaluate(value) for name, value in self._template.document.get("variables", {}).items()}

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """What is printed at the end."""
        scope = self._scope()
        return {name: scope.evaluate(rule["value"]) for name, rule in self._template.document["outputs"].items()}

    @cached_property
    def resources(self) -> list[Resource]:
        """Every resource, those of nested templates included."""
        made: list[Resource] = []
        for written in self._template.document["resources"]:
            made += self._made_of(written)
        return made

    def _made_of(self, written: Mapping[str, Any]) -> Iterator[Resource]:
        early = self._scope(early=True)
        if not early.evaluate(written.get("condition", True)):
            return
        loop = written.get("copy")
        rounds = range(early.evaluate(loop["count"])) if loop else [None]
        for index in rounds:
            yield from self._one(written, index)

    def _one(self, written: Mapping[str, Any], index: int | None) -> Iterator[Resource]:
        early, late = self._scope(early=True), self._scope()
        for scope in (early, late):
            scope.indexes |= {} if index is None else {"": index}
        outside = {"type", "apiVersion", "name", "condition", "copy", "dependsOn", "scope", "resourceGroup"}
        body = {key: value for key, value in written.items() if key not in outside}
        nested = written["type"] == "Microsoft.Resources/deployments"
        if nested:
            properties = body["properties"]
            body["properties"] = {key: value for key, value in properties.items() if key != "template"}
        computed = late.evaluate(body)
        yield Resource(
            written["type"],
            early.evaluate(written["name"]),
            written["apiVersion"],
            self._template.group,
            computed,
            tuple(early.evaluate(written.get("dependsOn", []))),
            early.evaluate(written.get("scope", "")),
        )
        if nested:
            group = early.evaluate(written.get("resourceGroup"))
            yield from self._nested(properties["template"], computed, group)

    def _nested(self, document: Mapping[str, Any], body: Mapping[str, Any], group: str | None) -> Iterator[Resource]:
        place = self._template.group if group is None else f"{GROUP.rpartition('/')[0]}/{group}"
        given = {name: one["value"] for name, one in body["properties"]["parameters"].items()}
        yield from Template(document, place).deploy(**given).resources

    def of(self, kind: str) -> list[Resource]:
        """Return the resources of one type."""
        return [resource for resource in self.resources if resource.kind == kind]

    def one(self, kind: str, ending: str = "") -> Resource:
        """Return the only resource of a type whose name ends so."""
        found = [resource for resource in self.of(kind) if resource.name.endswith(ending)]
        assert len(found) == 1, (kind, ending, [resource.name for resource in found])
        return found[0]


def parameters_of(environment: str, name: str) -> dict[str, Any]:
    """Return what the committed file of an environment gives a template."""
    written = json.loads((AZURE / "environments" / environment / f"{name}.json").read_text())
    return {key: one["value"] for key, one in written["parameters"].items()}


def deployed(name: str, environment: str, /, **more: Any) -> Deployment:
    """Deploy a template as the page says, with the parameters of an environment."""
    return Template.read(name).deploy(**{**parameters_of(environment, name), **TYPED[name], **more})
