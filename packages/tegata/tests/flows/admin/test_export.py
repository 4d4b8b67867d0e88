"""Export gives exactly what apply takes (pitfalls P100)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tegata.crypto.keys import generate_key, public_jwk
from tegata.flows.admin.apply import apply, plan_for
from tegata.flows.admin.checks import check_documents
from tegata.flows.admin.desired import resolve
from tegata.flows.admin.documents import parse_documents
from tegata.flows.admin.export import export, to_yaml, without_defaults

from .conftest import Desk
from .documents_of import SECRETS, client, document, references, role, tenant, user

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[5] / "examples" / "tenants"

RICH = (
    tenant(
        display_name="Acme: 'quoted' \"twice\" # no comment",
        profile="oidc-legacy",
        default_locale="ja",
        scopes=[{"name": "read", "description": {"en": "Read", "ja": "閲覧"}}, {"name": "yes"}],
        resources=[{"identifier": "https://a.example/api", "scopes": ["read"]}, {"identifier": "urn:x:y"}],
        default_audience=["null", "1"],
        access_token_format="opaque",
        access_token_claims={"roles": "roles"},
        userinfo_claims={"profile": {"department": "department"}},
        session_idle_seconds=600,
    ),
    role("member", description="", permissions=["a:*"]),
    role("true", description="yes"),
    client(
        client_name="- not a list",
        grant_types=["authorization_code", "refresh_token"],
        post_logout_redirect_uris=["https://app.example/"],
        default_max_age=0,
        default_audience=[],
        profile="oauth21",
        disabled=True,
    ),
    client(
        "jwt",
        secret_refs=...,
        token_endpoint_auth_method="private_key_jwt",
        jwks={"keys": [public_jwk(generate_key("RS256"))]},
    ),
    user(
        "no",
        roles=["member"],
        claims={
            "name": "山田 太郎",
            "birthdate": "1985-04-12",
            "phone_number": "+81312345678",
            "email": "jo@acme.example",
            "email_verified": True,
            "address": {"formatted": "line 1\nline 2\n", "country": "JP"},
            "level": 7,
            "ratio": 1.5,
            "tags": ["1", "null", "~", "x: y"],
        },
        password_ref="env:PASSWORD",
    ),
)


async def exported(desk: Desk, name: str = "acme") -> str:
    return to_yaml(export(await desk.tenant(name)))


async def test_applying_an_export_changes_nothing(desk: Desk) -> None:
    await desk.apply(*RICH)
    assert (await desk.diff(await exported(desk), prune=True)).is_empty


async def test_an_export_restores_everything_but_secrets_in_another_store(desk: Desk) -> None:
    await desk.apply(*RICH)
    text = await exported(desk)
    restored = Desk()
    documents = parse_documents(text, "export.yaml")
    wanted = resolve(documents, references())
    # A client that needs a secret is refused until somebody says where the secret is.
    clients = [client for client in wanted[0].clients if client.client_id == "web"]
    index = wanted[0].clients.index(clients[0])
    wanted[0].clients[index] = replace(clients[0], secret_digests=(b"d" * 32,))
    await apply(restored.operator, wanted)
    assert await exported(restored) == text


async def test_an_export_holds_no_secret(desk: Desk) -> None:
    await desk.apply(*RICH)
    text = await exported(desk)
    acme = await desk.tenant()
    hidden = [*SECRETS.values(), "argon2", acme.record.pairwise_salt.hex(), "secret_refs", "password"]
    assert [word for word in hidden if word in text] == []


async def test_defaults_are_left_out(desk: Desk) -> None:
    await desk.apply(tenant(), client(), user())
    documents = list(yaml.safe_load_all(await exported(desk)))
    assert [entry["spec"] for entry in documents] == [
        {},
        {"redirect_uris": ["https://app.example/callback"]},
        {},
    ]


async def test_the_order_is_stable(desk: Desk) -> None:
    await desk.apply(tenant(), role("b"), role("a"), client("b"), client("a"), user("b"), user("a"))
    other = Desk()
    await other.apply(user("a"), role("a"), client("a"), tenant(), client("b"), user("b"), role("b"))
    assert await exported(desk) == await exported(other)


async def test_ordinary_yaml_loaders_read_the_same_values(desk: Desk) -> None:
    await desk.apply(*RICH)
    text = await exported(desk)
    ours = [document.raw.value for document in parse_documents(text, "x")]
    assert list(yaml.safe_load_all(text)) == ours


@pytest.mark.parametrize("name", ["demo", "other"])
async def test_the_example_tenants_survive_the_round_trip(desk: Desk, name: str) -> None:
    documents = parse_documents((EXAMPLES / f"{name}.yaml").read_text(), name)
    check_documents(documents, allow_loopback_http=True)
    made = {
        reference.removeprefix("env:"): value
        for document in documents
        for reference, value in _needed(document.content.spec)
    }
    wanted = resolve(documents, references(**made))
    await apply(desk.operator, wanted)
    assert (await plan_for(desk.storage, wanted, prune=True)).is_empty
    again = parse_documents(await exported(desk, name), "export.yaml")
    check_documents(again, allow_loopback_http=True)
    assert (await plan_for(desk.storage, resolve(again, references()), prune=True)).is_empty
    # What was written is what comes back, apart from references, which are secrets or lead to keys.
    written = {_key(entry): entry for entry in yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text())}
    back = {_key(entry): entry for entry in yaml.safe_load_all(await exported(desk, name))}
    assert back.keys() == written.keys()
    for key, entry in written.items():
        spec = {field: value for field, value in entry["spec"].items() if not field.endswith(("_ref", "_refs"))}
        assert {f: v for f, v in back[key]["spec"].items() if f != "jwks"} == without_defaults(entry["kind"], spec), key


def _key(entry: dict[str, object]) -> tuple[object, object]:
    metadata = entry["metadata"]
    assert isinstance(metadata, dict)
    return entry["kind"], metadata["name"]


def _needed(spec: object) -> list[tuple[str, str]]:
    found = [(reference, SECRETS["SECRET"]) for reference in getattr(spec, "secret_refs", None) or ()]
    if password := getattr(spec, "password_ref", None):
        found.append((password, SECRETS["PASSWORD"]))
    if keys := getattr(spec, "jwks_ref", None):
        jwk = public_jwk(generate_key("ES256"))
        found.append((keys, json.dumps({"keys": [jwk]})))
    return found


async def test_a_second_tenant_is_not_exported_with_the_first(desk: Desk) -> None:
    await desk.apply(tenant(), tenant("beta"), document("Role", "secret-project", tenant="beta"))
    assert "secret-project" not in await exported(desk)
