"""The shape of documents: what is taken, and how a fault is told."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.flows.admin.documents import ClientDocument, TenantDocument, UserDocument, parse_documents
from tegata.flows.admin.problems import InvalidDocuments
from tegata.protocol.client import ClientMetadata

from .documents_of import client, document, tenant, user


def refusals(text: str) -> list[str]:
    with pytest.raises(InvalidDocuments) as caught:
        parse_documents(text, "x.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_document_becomes_the_value_the_rules_read() -> None:
    (found,) = parse_documents(tenant(profile="oidc-legacy", scopes=[{"name": "read"}]), "x.yaml")
    assert isinstance(found.content, TenantDocument)
    assert found.content.spec.profile == "oidc-legacy"
    assert found.content.spec.scopes[0].name == "read"


def test_lists_become_tuples_and_metadata_keeps_every_field() -> None:
    (found,) = parse_documents(client(contacts=["ops@app.example"], default_max_age=60), "x.yaml")
    assert isinstance(found.content, ClientDocument)
    metadata = found.content.spec.metadata(None)
    assert metadata == ClientMetadata(
        redirect_uris=("https://app.example/callback",), contacts=("ops@app.example",), default_max_age=60
    )
    assert {field.name for field in dataclasses.fields(ClientMetadata)} <= {
        field.name for field in dataclasses.fields(found.content.spec)
    }


def test_spec_may_be_left_out() -> None:
    text = "apiVersion: tegata.dev/v1\nkind: User\nmetadata: {name: jo, tenant: acme}\n"
    for ending in ("", "spec:\n"):
        (found,) = parse_documents(text + ending, "x.yaml")
        assert isinstance(found.content, UserDocument)
        assert found.content.spec.roles == ()


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        pytest.param(tenant(profil="x"), "spec.profil", "misspelt", id="an unknown field"),
        pytest.param(
            tenant(scopes=[{"name": "a", "x": 1}]), "spec.scopes[0].x", "misspelt", id="an unknown one inside"
        ),
        pytest.param(
            tenant(resources=[{"identifier": "https://a", "y": 1}]), "spec.resources[0].y", "", id="in a resource"
        ),
        pytest.param(client(secret="x"), "spec.secret", "misspelt", id="a secret in the document"),
        pytest.param(user(password="x"), "spec.password", "misspelt", id="a password in the document"),
        pytest.param(user(password_hash="x"), "spec.password_hash", "misspelt", id="a hash in the document"),
        pytest.param(client(secret_refs=["hunter2"]), "spec.secret_refs[0]", "env:NAME", id="a secret as a reference"),
        pytest.param(
            tenant(access_token_lifetime_seconds="60"), "spec.access_token_lifetime_seconds", "number", id="text"
        ),
        pytest.param(
            tenant(access_token_lifetime_seconds=True), "spec.access_token_lifetime_seconds", "number", id="bool"
        ),
        pytest.param(client(disabled="no"), "spec.disabled", "true or false", id="text for a flag"),
        pytest.param(client(redirect_uris="https://a"), "spec.redirect_uris", "list", id="text for a list"),
        pytest.param(client(contacts=[1]), "spec.contacts[0]", "quotes", id="a number for text"),
        pytest.param(
            client(grant_types=["implicit"]), "spec.grant_types[0]", "authorization_code", id="an unknown grant"
        ),
        pytest.param(document("User", "jo", {}, tenant="NO"), "metadata.tenant", "a-z", id="a bad tenant name"),
        pytest.param(tenant("UPPER"), "metadata.name", "a-z", id="a bad name of a tenant"),
        pytest.param(document("Realm", "x"), "kind", "Tenant, Client, Role, User", id="an unknown kind"),
        pytest.param("kind: Tenant", "apiVersion", "tegata.dev/v1", id="no version"),
        pytest.param("- 1", "", "mapping", id="a list"),
        pytest.param("just text", "", "mapping", id="text only"),
    ],
)
def test_a_fault_names_document_field_and_cure(text: str, path: str, words: str) -> None:
    told = "\n".join(refusals(text))
    assert path in told
    assert words in told


def test_all_faults_of_all_documents_are_told_at_once() -> None:
    told = refusals(client(a=1, b=2) + tenant(c=3))
    assert len(told) == 3
    assert "Client acme/web" in told[0]
    assert "Tenant acme" in told[2]


def test_a_missing_tenant_is_told() -> None:
    text = "apiVersion: tegata.dev/v1\nkind: Role\nmetadata: {name: x}\n"
    assert refusals(text) == ["x.yaml:3: Role x: metadata.tenant is missing"]


def test_a_fault_never_repeats_what_stood_there() -> None:
    assert "hunter2" not in "\n".join(refusals(client(secret_refs=["hunter2"])))


NAMES = st.sampled_from(["apiVersion", "kind", "metadata", "spec", "name", "tenant", "scopes", "claims", "x"])
SCALARS = st.sampled_from(
    ["tegata.dev/v1", "Tenant", "Client", "Role", "User", "acme", "1", "null", "true", "[]", "{}"]
)
NESTED = st.recursive(SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=5), max_leaves=15)


@given(st.dictionaries(NAMES, NESTED, max_size=5))
def test_every_mapping_is_a_document_or_refused_with_sentences(value: dict[str, object]) -> None:
    try:
        found: object = parse_documents(json.dumps(value), "x.yaml")
    except InvalidDocuments as error:
        found = [problem.message for problem in error.problems]
    assert found
