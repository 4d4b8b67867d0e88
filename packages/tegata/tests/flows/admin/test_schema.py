"""The published JSON Schema is the one the code has, and the examples are valid by it (pitfalls P101)."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tegata.flows.admin.documents import ClientSpec, RoleSpec, UserSpec, parse_documents
from tegata.flows.admin.problems import InvalidDocuments
from tegata.flows.admin.schema import document_schema, schema_text
from tegata.protocol.policy import TenantPolicy

from .documents_of import client, role, tenant, user

ROOT = Path(__file__).parents[5]
SCHEMA = jsonschema.Draft202012Validator(document_schema())


def test_the_published_schema_is_current() -> None:
    """If not: `tegata schema > docs/reference/tegata.schema.json`."""
    assert (ROOT / "docs" / "reference" / "tegata.schema.json").read_text() == schema_text()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(document_schema())


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "tenants").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_valid_for_ordinary_loaders_too(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        SCHEMA.validate(document)
    assert [document.raw.value for document in parse_documents(path.read_text(), path.name)] == documents


@pytest.mark.parametrize("text", [tenant(), client(), role("a"), user()], ids=["Tenant", "Client", "Role", "User"])
@pytest.mark.parametrize(
    "change",
    [
        {"apiVersion": "v2"},
        {"kind": "Realm"},
        {"metadata": {}},
        {"spec": {"unknown": 1}},
        {"spec": []},
        {"extra": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_schema_and_reader_refuse_the_same(text: str, change: dict[str, Any]) -> None:
    document = yaml.safe_load(text) | change
    assert not SCHEMA.is_valid(document)
    with pytest.raises(InvalidDocuments):
        parse_documents(json.dumps(document), "x.yaml")


def test_every_field_stands_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "configuration-as-code.md").read_text()
    specs = (TenantPolicy, ClientSpec, RoleSpec, UserSpec)
    fields = {field.name for spec in specs for field in dataclasses.fields(spec)}
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []


def test_every_default_in_the_reference_is_the_codes() -> None:
    """Rows with one field and a plain value."""
    text = (ROOT / "docs" / "reference" / "configuration-as-code.md").read_text()
    defaults = {field.name: field.default for field in dataclasses.fields(TenantPolicy)}
    told = dict(re.findall(r"^\| `(\w+)` \| (\d+|`[\w-]+`) \|", text, re.MULTILINE))
    compared = {name: value.strip("`") for name, value in told.items() if name in defaults}
    assert len(compared) > 10
    assert compared == {name: str(defaults[name]) for name in compared}
