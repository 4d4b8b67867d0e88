"""What `tegata secrets` says when it cannot do what it was asked: nothing that it does not know. No database needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tegata.cli.main import app
from tegata.cli.rotation.documents import read_rotated
from tegata.cli.rotation.running import attempt
from tegata.cli.rotation.stores import Stores
from tegata_credentials.errors import SecretUnavailable
from tegata_credentials.rotation.driver import Outcome, RotationDriver
from tegata_credentials.rotation.errors import DatabaseConnectionError
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.token_state import HiddenText

CURE = "boto3 is not installed: install `tegata-credentials[aws]`"


class Operator:
    """Somebody with a file of secrets that are rotated, in a directory of their own."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "secrets"
        self.directory.mkdir(mode=0o700)
        self.file = place / "rotation.yaml"
        self._documents: list[str] = []

    def knows(self, name: str, secret: str | None = None, spec: str = "strategy: signing-keys") -> None:
        where = secret or f"file:{self.directory}/{name}"
        self._documents.append(
            f"apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {{name: {name}}}\n"
            f"spec: {{secret: '{where}', {spec}}}\n"
        )
        self.file.write_text("---\n".join(self._documents))

    def run(self, *words: str, **settings: str) -> Result:
        environment = {"TEGATA_HOME": "/nowhere", "TEGATA_ROTATION_FILE": str(self.file), **settings}
        return CliRunner().invoke(app, ["secrets", *words], env=environment)  # type: ignore[return-value]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.mark.parametrize(
    "words",
    [("rotate", "jwt"), ("rotate", "--due"), ("rollback", "jwt", "--yes"), ("status", "--no-probe"), ("status",)],
    ids=" ".join,
)
def test_without_boto3_it_is_told_what_to_install(
    operator: Operator, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    operator.knows("jwt", "awssm:shop-prod-secret-jwt")
    done = operator.run(*words)
    assert (done.exit_code, CURE in done.output) == (2, True), done.output
    assert "run it again" not in done.output
    assert "Still true" not in done.output


@pytest.mark.parametrize("provider", ["no_such_module:keys", "json:no_such_name", "json:dumps"])
def test_a_provider_that_cannot_be_loaded_is_a_fault_of_the_document(operator: Operator, provider: str) -> None:
    operator.knows("mail", spec=f"strategy: generic-token, provider: '{provider}'")
    FileVersions(operator.directory).create("mail", HiddenText("key-1"))
    done = operator.run("rotate", "mail")
    assert done.exit_code == 2, done.output
    assert f"mail: not rotated: {provider} cannot be loaded" in done.output


def test_one_that_is_set_up_wrongly_holds_up_no_other(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    operator.knows("jwt", "awssm:shop-prod-secret-jwt")
    operator.knows("own")
    FileVersions(operator.directory).create("own", HiddenText(""))
    done = operator.run("rotate", "--due")
    assert (done.exit_code, "own: not due" in done.output) == (2, True)


@pytest.mark.parametrize("words", [("rotate", "jwt"), ("rotate", "--due"), ("rollback", "jwt", "--yes")], ids=" ".join)
def test_of_a_secret_that_is_not_there_nothing_is_said_to_be_valid(operator: Operator, words: tuple[str, ...]) -> None:
    operator.knows("jwt")
    done = operator.run(*words)
    assert (done.exit_code, "not_found" in done.output) == (1, True), done.output
    assert "valid" not in done.output
    (told,) = json.loads(operator.run(*words, "--json").stdout)["secrets"]
    assert told["still_valid"] == ""


def test_of_a_secret_without_a_current_version_nothing_is_said_to_be_valid(operator: Operator) -> None:
    operator.knows("jwt")
    FileVersions(operator.directory).create("jwt", HiddenText(""))
    labels = operator.directory / "jwt" / "labels.json"
    labels.write_text(json.dumps(json.loads(labels.read_text()) | {"labels": {}}))
    done = operator.run("rotate", "jwt")
    assert done.exit_code == 1, done.output
    assert "Still true" not in done.output


def test_of_a_secret_that_was_read_it_is_said_what_is_valid(operator: Operator) -> None:
    operator.knows("jwt")
    FileVersions(operator.directory).create("jwt", HiddenText("{"))
    done = operator.run("rollback", "jwt", "--yes")
    assert done.exit_code == 1
    assert "Still true: the current credential is unchanged and valid." in done.output


@pytest.mark.parametrize(
    ("strategy", "failure", "is_told"),
    [
        ("alternating-users", SecretUnavailable("db", "away"), True),
        ("single-user", SecretUnavailable("db", "away"), False),
        ("single-user", DatabaseConnectionError("the server does not answer"), True),
    ],
    ids=["two users, at any step", "one user, perhaps after the change", "one user, before the change"],
)
def test_of_a_single_user_it_is_said_only_where_its_password_was_not_changed_yet(
    operator: Operator, strategy: str, failure: Exception, is_told: bool
) -> None:
    more = ", group: shop" if strategy == "alternating-users" else ""
    operator.knows("db", spec=f"strategy: {strategy}, administrator: 'file:{operator.directory}/rotator'{more}")
    store = FileVersions(operator.directory)
    first = store.create("db", HiddenText("{}"))
    store.put_pending("db", "second", HiddenText("{ }"))
    store.promote("db", "second", replacing=first)
    (secret,) = read_rotated(operator.file)

    def fail(_driver: RotationDriver, _name: str) -> Outcome:
        raise failure

    result = attempt(Stores(), secret, fail)
    assert (result.state, bool(result.still_valid)) == ("failed", is_told)


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ("strategy: signing-keys", "`tegata secrets create new` makes it"),
        (
            "strategy: alternating-users, group: shop, administrator: 'file:/nowhere'",
            "`tegata secrets create new --at ADDRESS-OF-THE-DATABASE` makes it",
        ),
        (
            "strategy: single-user, administrator: 'file:/nowhere'",
            "`tegata secrets create new < FILE-WITH-THE-VALUE` makes it",
        ),
    ],
    ids=["keys", "two users", "one user"],
)
@pytest.mark.parametrize("words", [("rotate",), ("rotate", "--due"), ("rollback", "--yes"), ("status",)], ids=" ".join)
def test_of_a_secret_that_never_was_it_is_said_how_it_is_made(
    operator: Operator, words: tuple[str, ...], spec: str, made: str
) -> None:
    operator.knows("new", spec=spec)
    done = operator.run(*words, *(() if "--due" in words else ("new",)))
    assert done.exit_code == 1, done.output
    assert "not_found" in done.stdout
    assert f"if there never was one: {made}" in done.stdout


def test_of_an_administrators_secret_that_is_missing_nothing_is_said_of_making_this_one(operator: Operator) -> None:
    operator.knows("db", spec="strategy: alternating-users, group: shop, administrator: 'file:/nowhere'")
    value = {"username": "shop_b", "password": "x", "host": "127.0.0.1", "port": 1}
    FileVersions(operator.directory).create("db", HiddenText(json.dumps(value)))
    assert "tegata secrets create" not in operator.run("rotate", "db").output


def figures_in(done: Result) -> dict[str, object]:
    found: dict[str, object] = {}
    for line in done.stderr.splitlines():
        found |= json.loads(line)
    return found


def test_figures_are_written_where_they_are_asked_for_and_apart_from_the_results(operator: Operator) -> None:
    operator.knows("jwt")
    FileVersions(operator.directory).create("jwt", HiddenText(""))
    plain = operator.run("rotate", "jwt", "--json")
    assert plain.exit_code == 0
    assert "_aws" not in plain.stderr
    assert f" rotation.promoted secret=file:{operator.directory}/jwt version=" in plain.stderr
    done = operator.run("rotate", "jwt", "--json", TEGATA_EMBEDDED_METRICS="true")
    assert json.loads(done.stdout)["secrets"][0]["state"] == "waiting"
    told = figures_in(done)
    assert told["RotationPostponed"] == 1
    assert told["audit"] == "rotation.postponed"
    assert "RotationStepDuration" in told


def test_a_rotation_that_fails_is_a_figure_too(operator: Operator) -> None:
    operator.knows("db", spec="strategy: alternating-users, group: shop, administrator: 'file:/nowhere'")
    FileVersions(operator.directory).create("db", HiddenText("no place of a database"))
    done = operator.run("rotate", "db", TEGATA_EMBEDDED_METRICS="true")
    assert done.exit_code == 1, done.output
    told = figures_in(done)
    assert (told["RotationFailed"], told["step"]) == (1, "createSecret")
    assert "no place of" not in done.output
