"""The example tenants: their secrets, what is stored of them, and what is told about them."""

from __future__ import annotations

import json
import re
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from tegata.cli.dev import told
from tegata.cli.dev.examples import example_api, tenant_files
from tegata.cli.dev.made_secrets import as_references, new_password
from tegata.cli.dev.seeding import Seed, plant, read_seed
from tegata.crypto.digests import digest_of
from tegata.crypto.envelope import Envelope
from tegata.crypto.passwords import verify_password
from tegata.flows.admin.apply import Operator
from tegata.flows.admin.current import read_current
from tegata.identity.account import normalize_username
from tegata.testing.memory import MemoryStorage

BASE = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def seed() -> Seed:
    return read_seed({})


@pytest.fixture(scope="module")
def document(seed: Seed) -> dict[str, Any]:
    return json.loads(told.dev_text(seed, BASE))  # type: ignore[no-any-return]  # JSON


def test_secrets_are_made_once_and_kept(seed: Seed) -> None:
    assert read_seed(seed.values) == seed
    assert read_seed({}).values != seed.values


def test_a_secret_that_is_missing_is_added_to_the_others(seed: Seed) -> None:
    name = "TEGATA_DEV_DEMO_YAMADA_PASSWORD"
    fewer = {n: value for n, value in seed.values.items() if n != name}
    again = read_seed(fewer)
    assert again.values[name] != seed.values[name]
    assert {n: value for n, value in again.values.items() if n != name} == fewer


def test_no_example_holds_a_secret(seed: Seed) -> None:
    texts = "".join(path.read_text() for path in tenant_files())
    assert [value for value in seed.values.values() if value in texts] == []
    assert all(value.startswith("env:TEGATA_DEV_") for value in re.findall(r"(?:_ref|_refs): \[?([^\s\]]+)", texts))


def test_passwords_are_random_and_easy_to_type() -> None:
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"([a-hjkmnp-z2-9]{4}-){2}[a-hjkmnp-z2-9]{4}", password) for password in made)


def test_documents_see_only_the_public_part_of_key_sets(seed: Seed) -> None:
    for name, value in as_references(seed.values).items():
        if name.endswith("_JWKS"):
            (key,) = json.loads(value)["keys"]
            assert "d" not in key
            assert key["alg"] == "ES256"
        else:
            assert value == seed.values[name]


def test_dev_json_has_the_shape_that_was_promised(document: dict[str, Any]) -> None:
    assert set(document) == {"base_url", "tenants"}
    assert [tenant["name"] for tenant in document["tenants"]] == ["demo", "other"]
    for tenant in document["tenants"]:
        name = tenant["name"]
        assert set(tenant) == {"name", "issuer", "users", "clients", "resources"}
        assert tenant["issuer"] == f"{BASE}/{name}"
        assert all(set(user) == {"username", "password", "roles"} for user in tenant["users"])
        methods = {client["client_id"]: client["token_endpoint_auth_method"] for client in tenant["clients"]}
        assert methods == {
            f"{name}-web": "client_secret_basic",
            f"{name}-post": "client_secret_post",
            f"{name}-spa": "none",
            f"{name}-service": "client_secret_basic",
            f"{name}-jwt": "private_key_jwt",
        }
        for client in tenant["clients"]:
            assert client["redirect_uris"] == ["http://127.0.0.1:9000/callback", "http://localhost:9000/callback"]
            assert ("client_secret" in client) == client["token_endpoint_auth_method"].startswith("client_secret")
            assert ("jwks" in client) == client["client_id"].endswith("-jwt")
            if "jwks" in client:
                assert "d" in client["jwks"]["keys"][0]


def test_the_demo_tenant_is_the_one_that_was_asked_for(document: dict[str, Any]) -> None:
    demo = document["tenants"][0]
    assert {role for user in demo["users"] for role in user["roles"]} == {
        "researcher",
        "developer",
        "evaluator",
        "viewer",
        "admin",
    }
    assert demo["users"][0]["username"] == "yamada"
    assert demo["users"][0]["roles"] == ["researcher", "developer"]


def test_the_playgrounds_client_is_not_listed(document: dict[str, Any]) -> None:
    assert "playground" not in json.dumps(document)


def test_each_curl_line_stands_alone_on_one_line(seed: Seed) -> None:
    commands = told.commands(seed, BASE)
    assert len(commands) == 3
    for command in commands:
        assert command.line.startswith("curl ")
        assert "\n" not in command.line


def test_the_greeting_names_what_one_needs(seed: Seed) -> None:
    text = "\n".join(told.welcome(seed, BASE, dev_json=".tegata/dev.json"))
    for words in (f"{BASE}/", f"{BASE}/demo", "yamada", "demo-web", "demo-service", ".tegata/dev.json", "Ctrl-C"):
        assert words in text
    for command in told.commands(seed, BASE):
        assert command.line in text


def test_the_pages_stay_on_their_own_origin(seed: Seed) -> None:
    page = told.playground_page(seed, BASE)
    for address in (page.issuer, page.token_endpoint, page.userinfo_endpoint, page.api_uri, page.redirect_uri):
        assert address.startswith(f"{BASE}/")


@pytest.mark.anyio
async def test_planting_twice_changes_nothing_and_a_new_address_only_the_playground(seed: Seed) -> None:
    storage, ids = MemoryStorage(), count(1)
    operator = Operator(storage, Envelope([b"k" * 32]), new_id=lambda: UUID(int=next(ids)))
    await plant(operator, seed, base_url=BASE)
    assert (await plant(operator, seed, base_url=BASE)).is_empty
    moved = await plant(operator, seed, base_url="http://127.0.0.1:9999")
    assert [change.name for change in moved.changes if change.action != "unchanged"] == ["demo-playground"]
    demo = (await read_current(storage, ["demo"]))["demo"]
    yamada = demo.users[normalize_username("yamada")]
    assert yamada.user.claims["name"] == "山田 太郎"
    assert verify_password(yamada.password_hash, seed.values["TEGATA_DEV_DEMO_YAMADA_PASSWORD"])
    (secret,) = demo.clients["demo-web"].secrets
    assert secret.digest == digest_of(seed.values["TEGATA_DEV_DEMO_WEB_SECRET"])
    assert demo.clients["demo-playground"].is_public
    assert demo.clients["demo-playground"].metadata.consent == "explicit"
    jwks = demo.clients["demo-jwt"].metadata.jwks
    assert jwks is not None
    assert "d" not in jwks["keys"][0]


def test_the_example_api_is_found() -> None:
    assert example_api(f"{BASE}/demo", ["a"]) is not None
