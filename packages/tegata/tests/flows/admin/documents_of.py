"""Small documents for tests of configuration as code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tegata.flows.admin.checks import check_documents
from tegata.flows.admin.desired import DesiredTenant, resolve
from tegata.flows.admin.documents import Document, parse_documents
from tegata.flows.admin.references import StoredReferences, standard_references

SECRET = "a-machine-secret-of-forty-three-characters-"
SECRETS = {
    "SECRET": SECRET,
    "NEWER_SECRET": "another-machine-secret-of-43-characters-abc",
    "PASSWORD": "correct horse battery staple",
    "NEWER_PASSWORD": "incorrect horse battery staple",
}


def document(kind: str, name: str, spec: Mapping[str, Any] | None = None, tenant: str = "acme") -> str:
    """One document as YAML text; JSON is YAML as well."""
    metadata = {"name": name} if kind == "Tenant" else {"name": name, "tenant": tenant}
    value = {"apiVersion": "tegata.dev/v1", "kind": kind, "metadata": metadata, "spec": dict(spec or {})}
    return "---\n" + json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def tenant(name: str = "acme", **spec: Any) -> str:
    return document("Tenant", name, spec)


def client(name: str = "web", **spec: Any) -> str:
    """A confidential client, changed by `spec`."""
    good = {"redirect_uris": ["https://app.example/callback"], "secret_refs": ["env:SECRET"]}
    merged = {field: value for field, value in (good | spec).items() if value is not ...}
    return document("Client", name, merged)


def role(name: str, **spec: Any) -> str:
    return document("Role", name, spec)


def user(name: str = "jo", **spec: Any) -> str:
    return document("User", name, spec)


def references(**changed: str) -> StoredReferences:
    return standard_references(SECRETS | changed)


def parsed(*texts: str, allow_loopback_http: bool = False) -> tuple[Document, ...]:
    """Documents that have passed the checks."""
    found = parse_documents("".join(texts), "test.yaml")
    check_documents(found, allow_loopback_http=allow_loopback_http)
    return found


def desired(*texts: str, **changed: str) -> tuple[DesiredTenant, ...]:
    return resolve(parsed(*texts), references(**changed))
