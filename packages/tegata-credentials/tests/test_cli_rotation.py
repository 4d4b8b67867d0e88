"""`tegata-credentials pair` and `policy`: SQL that a real server takes, and policies that name what was asked for."""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import PGconn

from tegata.testing.clusters import Cluster
from tegata_credentials.cli import main
from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.plans import PlanError, read_plans
from tegata_credentials.rotation.postgres.scram import scram_verifier
from tegata_credentials.testing.outputs import remember

PLACE = ["--region", "eu-west-1", "--account", "123456789012"]


@pytest.fixture(scope="module")
def execute() -> Any:
    cluster = Cluster()

    def run(statement: str) -> list[Any]:
        with psycopg.connect(cluster.admin.psycopg_conninfo(), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    yield run
    cluster.stop()


def test_the_sql_makes_the_pair_and_gives_the_rotator_its_password(
    execute: Callable[[str], list[Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    password = secrets.token_urlsafe(32)
    remember(password)
    (tmp_path / "password").write_text(password + "\n")
    for _ in range(2):  # it may be run again
        assert main(["pair", "--group", "shop", "--rotator-password-from", str(tmp_path / "password")]) == 0
        execute(capsys.readouterr().out)
    roles = dict(execute("select rolname, rolcanlogin from pg_roles where rolname like 'shop%'"))
    assert roles == {"shop": False, "shop_a": True, "shop_b": True, "shop_rotator": True}
    ((verifier,),) = execute("select rolpassword from pg_authid where rolname = 'shop_rotator'")
    salt = verifier.split(":")[1].split("$")[0]
    assert scram_verifier(password, salt=base64.b64decode(salt)) == verifier


def test_our_verifier_is_that_of_libpq() -> None:
    for password in ("pencil", "a b'c\"d\\e$f:g", "~" * 200):
        theirs = PGconn.connect_start(b"host=/nowhere").encrypt_password(password.encode(), b"role", b"scram-sha-256")
        salt = base64.b64decode(theirs.decode().split(":")[1].split("$")[0])
        assert scram_verifier(password, salt=salt) == theirs.decode()


@pytest.mark.parametrize("password", ["", "pässwort", "tab\there", "\x00"])
def test_a_password_that_would_have_to_be_prepared_is_refused_without_being_repeated(password: str) -> None:
    with pytest.raises(CredentialError) as caught:
        scram_verifier(password)
    assert not password or password not in str(caught.value)


def test_the_password_may_come_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a-password-for-this-test-only\r\n"))
    assert main(["pair", "--group", "shop", "--logins", "x", "y", "--rotator-password-from", "-"]) == 0
    out = capsys.readouterr().out
    assert "a-password" not in out
    assert '"x"' in out


def test_names_that_postgresql_cannot_hold_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "--group", "g" * 64]) == 2
    assert main(["pair", "--group", "same", "--logins", "same", "other"]) == 2
    assert capsys.readouterr().err.count("tegata-credentials pair: ") == 2


@pytest.mark.parametrize(
    ("words", "field"),
    [(["--group", "Shop"], "group"), (["--group", "shop", "--logins", "Shop_1", "shop_2"], "pair.0")],
    ids=["the group", "a login"],
)
def test_names_that_a_plan_could_not_say_are_refused_in_the_words_of_the_plan(
    words: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pair", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    names = {"group": "Shop"} if field == "group" else {"group": "shop", "pair": ["Shop_1", "shop_2"]}
    with pytest.raises(PlanError) as refused:
        read_plans(json.dumps({"secret": "db", "strategy": "alternating-users", **names}))
    _, _, of_the_plan = str(refused.value).partition(f".{field}: ")
    _, _, of_the_command = said.err.strip().partition(": ")[2].partition(": ")
    assert of_the_command == of_the_plan != ""


def test_without_the_password_no_sql_is_printed_that_would_make_a_rotator_without_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["pair", "--group", "shop", "--rotator-password-from", "/nowhere/at/all"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "/nowhere/at/all" in said.err


def test_a_policy_is_printed_for_readers_and_for_rotation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "reader", "shop-prod-secret-database", "shop-prod-secret-jwt", *PLACE]) == 0
    reader = json.loads(capsys.readouterr().out)
    assert len(reader["Statement"][0]["Resource"]) == 2
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"
    options = ["--administrator", "shop-prod-secret-rotator", "--kms-key", key]
    assert main(["policy", "rotation", "shop-prod-secret-database", *PLACE, *options]) == 0
    rotation = json.loads(capsys.readouterr().out)
    assert {action for statement in rotation["Statement"] for action in statement["Action"]} == {
        "kms:Decrypt",
        "kms:GenerateDataKey",
        *(f"secretsmanager:{word}" for word in ("DescribeSecret", "GetSecretValue")),
        *(f"secretsmanager:{word}" for word in ("PutSecretValue", "UpdateSecretVersionStage")),
    }


def test_a_policy_for_what_is_no_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "reader", "shop-*", *PLACE]) == 2
    assert main(["policy", "rotation", "one", "two", *PLACE]) == 2
    assert main(["policy", "reader", "one", "--region", "moon", "--account", "1"]) == 2
    assert main(["policy", "reader", "one", *PLACE, "--kms-key", "*"]) == 2
    assert main(["policy", "rotation", "one", *PLACE, "--function", "*"]) == 2
    assert capsys.readouterr().out == ""
