"""Stored tenants as documents: exactly what apply takes, without secrets and without fields that have their default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from tegata.flows.admin.current import CurrentTenant
from tegata.flows.admin.differences import as_document
from tegata.flows.admin.documents import API_VERSION, RoleSpec, UserSpec
from tegata.flows.admin.yaml_reader import resolve_plain
from tegata.protocol.client import ClientMetadata
from tegata.protocol.policy import TenantPolicy

_DEFAULTS: Mapping[str, Any] = {
    "Tenant": as_document(TenantPolicy()),
    "Client": as_document(ClientMetadata()),
    "Role": as_document(RoleSpec()),
    "User": as_document(UserSpec()),
}
_NESTED_DEFAULTS: Sequence[dict[str, Any]] = ({"description": {}}, {"scopes": None})  # of ScopeText and Resource


def export(tenant: CurrentTenant) -> list[dict[str, Any]]:
    """Return the documents of one tenant in the order in which apply takes them."""
    name = tenant.record.name
    documents = [_document("Tenant", {"name": name}, as_document(tenant.record.policy))]
    for role in sorted(tenant.roles.values(), key=lambda role: role.name):
        documents.append(_member("Role", name, role.name, as_document(RoleSpec(role.description, role.permissions))))
    for client in sorted(tenant.clients.values(), key=lambda client: client.client_id):
        documents.append(_member("Client", name, client.client_id, as_document(client.metadata)))
    for _, found in sorted(tenant.users.items()):
        user = found.user
        spec = as_document(UserSpec(dict(user.claims), user.roles, user.disabled))
        documents.append(_member("User", name, user.username, spec))
    return documents


def to_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return a stream of YAML documents that `documents.parse_documents` reads back as the same values."""
    text: str = yaml.dump_all(
        list(documents), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, explicit_start=True
    )
    return text


def without_defaults(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec without the fields that would have the same value if they were not written."""
    defaults = _DEFAULTS[kind]
    kept = {name: value for name, value in spec.items() if name not in defaults or value != defaults[name]}
    if kind == "Tenant":
        for name in ("scopes", "resources"):
            if name in kept:
                kept[name] = [dict(_written(entry)) for entry in kept[name]]
    return kept


def _written(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in entry.items():
        if {name: value} not in _NESTED_DEFAULTS:
            yield name, value


def _member(kind: str, tenant: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _document(kind, {"name": name, "tenant": tenant}, spec)


def _document(kind: str, metadata: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": without_defaults(kind, spec)}


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or our own reader would take for something other than text, and never writes an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    quoted = not isinstance(resolve_plain(value), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if quoted else None)


_Dumper.add_representer(str, _text)
