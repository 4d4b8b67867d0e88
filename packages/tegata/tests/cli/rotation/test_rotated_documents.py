"""What may stand in TEGATA_ROTATION_FILE, and what Tegata's own logins need no document for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tegata.cli.failures import CommandFailure
from tegata.cli.rotation.documents import parse_rotated
from tegata.cli.rotation.known import known_secret, known_secrets
from tegata.cli.rotation.schema import rotation_schema
from tegata.flows.admin.problems import InvalidDocuments
from tegata.flows.admin.yaml_reader import read_documents
from tegata.settings import Settings

GOOD = """\
apiVersion: tegata.dev/v1
kind: RotatedSecret
metadata: {name: orders}
spec:
  secret: awssm:shop-prod-secret-database
  strategy: alternating-users
  group: shop
  pair: [shop_one, shop_two]
  administrator: awssm:shop-prod-secret-rotator
  every: 7d
---
apiVersion: tegata.dev/v1
kind: RotatedSecret
metadata: {name: jwt}
spec: {secret: "file:/var/lib/shop/jwt", strategy: signing-keys}
"""
OWN = {
    "TEGATA_ROTATION_ADMINISTRATOR": "awssm:rotator",
    "TEGATA_DATABASE_SECRET": "awssm:database",
    "TEGATA_MIGRATION_DATABASE_SECRET": "file:/var/lib/tegata/migration",
}


def settings(**changed: str) -> Settings:
    return Settings.from_environment({name: value for name, value in (OWN | changed).items() if value})


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidDocuments) as caught:
        parse_rotated(text, "rotation.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_documents_name_secrets_and_how_each_is_rotated() -> None:
    orders, jwt = parse_rotated(GOOD, "rotation.yaml")
    assert (orders.name, str(orders.reference)) == ("orders", "awssm:shop-prod-secret-database")
    assert (orders.plan.strategy, orders.plan.every) == ("alternating-users", timedelta(days=7))
    assert (jwt.plan.strategy, jwt.reference.scheme, jwt.plan.every) == ("signing-keys", "file", timedelta(days=30))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("group: shop", "grop: shop", "rotation.yaml:7: RotatedSecret orders: spec.grop is not a field"),
        ("every: 7d", "every: weekly", "rotation.yaml:10: RotatedSecret orders: spec.every "),
        ("name: orders", "name: Or ders", "rotation.yaml:3: RotatedSecret Or ders: metadata.name "),
        ("awssm:shop-prod-secret-database", "env:DATABASE", "rotation.yaml:5: RotatedSecret orders: spec.secret "),
        ("secret-database", "secret-database#password", "rotation.yaml:5: RotatedSecret orders: spec.secret "),
        ("awssm:shop-prod-secret-rotator", "rotator", "rotation.yaml:9: RotatedSecret orders: spec.administrator "),
        (
            "every: 7d",
            "rest_seconds: 330",
            "rotation.yaml:10: RotatedSecret orders: spec.rest_seconds this store does not",
        ),
        ("every: 7d", "rest_seconds: -1", "rotation.yaml:10: RotatedSecret orders: spec.rest_seconds "),
        ("alternating-users", "by-hand", "rotation.yaml:4: RotatedSecret orders: spec "),
        ("kind: RotatedSecret\nmetadata: {name: orders", "kind: Tenant\nmetadata: {name: orders", "kind"),
        ("name: jwt", "name: orders", "RotatedSecret orders: metadata.name is used twice"),
        ("file:/var/lib/shop/jwt", "awssm:shop-prod-secret-database", "spec.secret is that of orders as well"),
    ],
)
def test_a_fault_is_told_with_its_line(old: str, new: str, told: str) -> None:
    assert old in GOOD
    assert any(told in problem for problem in problems(GOOD.replace(old, new, 1))), problems(GOOD.replace(old, new, 1))


def test_every_fault_is_told_at_once_and_no_value_with_it() -> None:
    wrong = GOOD.replace("group: shop", "grop: hunter2").replace("strategy: signing-keys", "strategy: no-such")
    found = problems(wrong)
    assert len(found) >= 2
    assert "hunter2" not in "".join(found)


def test_a_value_in_the_place_of_a_reference_is_not_repeated() -> None:
    found = problems(GOOD.replace("awssm:shop-prod-secret-rotator", "hunter2-and-more"))
    assert "hunter2" not in "".join(found)


def test_own_logins_need_an_administrator_and_no_document() -> None:
    database, migration = known_secrets(settings())
    assert (database.name, migration.name) == ("database", "migration-database")
    assert (database.plan.strategy, database.plan.every) == ("alternating-users", timedelta(days=30))
    assert str(migration.reference) == "file:/var/lib/tegata/migration"
    assert known_secrets(settings(TEGATA_ROTATION_ADMINISTRATOR="")) == ()
    assert [each.by_age for each in known_secrets(settings(TEGATA_ROTATION_DAYS="0"))] == [False, False]


def test_a_document_about_an_own_login_takes_the_place_of_the_default(tmp_path: Path) -> None:
    path = tmp_path / "rotation.yaml"
    path.write_text(GOOD.replace("awssm:shop-prod-secret-database", "awssm:database"))
    known = known_secrets(settings(TEGATA_ROTATION_FILE=str(path)))
    assert [each.name for each in known] == ["migration-database", "orders", "jwt"]


def test_a_document_does_not_take_the_name_of_an_own_login(tmp_path: Path) -> None:
    """Else Tegata's own would silently be rotated no more."""
    path = tmp_path / "rotation.yaml"
    path.write_text(GOOD.replace("name: orders", "name: database"))
    with pytest.raises(CommandFailure, match="database is the name of one of Tegata's own logins"):
        known_secrets(settings(TEGATA_ROTATION_FILE=str(path)))


def test_settings_that_lead_nowhere_are_told_by_their_names() -> None:
    with pytest.raises(CommandFailure, match="TEGATA_DATABASE_SECRET"):
        known_secrets(settings(TEGATA_DATABASE_SECRET="env:DATABASE"))
    with pytest.raises(CommandFailure, match="TEGATA_ROTATION_ADMINISTRATOR"):
        known_secrets(settings(TEGATA_ROTATION_ADMINISTRATOR="hunter2"))
    with pytest.raises(CommandFailure, match="there are database, migration-database"):
        known_secret(settings(), "databases")


def test_the_schema_takes_what_is_read_and_refuses_what_is_not() -> None:
    documents = [json.loads(json.dumps(raw.value)) for raw in read_documents(GOOD, "rotation.yaml")]
    validator = Draft202012Validator(rotation_schema())
    assert [list(validator.iter_errors(document)) for document in documents] == [[], []]
    for name, value in (("every", "weekly"), ("strategy", "by-hand"), ("grop", "shop")):
        wrong = documents[0] | {"spec": documents[0]["spec"] | {name: value}}
        assert not validator.is_valid(wrong)
