"""`tegata secrets` on a real database that asks for passwords, with the secrets in files."""

from __future__ import annotations

import json
import os
import pty
import secrets
import subprocess

import psycopg
import pytest
from click.testing import Result

from tegata.cli.failures import CommandFailure
from tegata.testing.warm_starts import WarmPopen, run_to_its_end
from tegata_credentials.token_state import HiddenText

from .conftest import TEGATA, Place


@pytest.fixture
def made(place: Place) -> Place:
    """With one secret."""
    assert place.run("secrets", "create", "database", "--at", place.address).exit_code == 0
    return place


def failure(result: Result) -> CommandFailure:
    assert isinstance(result.exception, CommandFailure), result.output
    return result.exception


def holders(place: Place) -> tuple[str | None, str | None]:
    labels = place.store.labels("database")
    return labels.holder("AWSCURRENT"), labels.holder("AWSPREVIOUS")


def test_a_first_value_is_made_without_anybody_typing_one(place: Place) -> None:
    made = place.run("secrets", "create", "database", "--at", place.address)
    assert made.exit_code == 0, made.output
    current = place.current("database")
    assert (current["username"], current["engine"], current["dbname"]) == (
        "tegata_app_a",
        "postgres",
        place.admin.database,
    )
    assert place.logs_in(current)


def test_a_rotation_changes_the_login_and_leaves_the_one_before_good(made: Place) -> None:
    first = made.current("database")
    done = made.run("secrets", "rotate", "database")
    assert done.exit_code == 0, done.output
    second = made.current("database")
    assert (first["username"], second["username"]) == ("tegata_app_a", "tegata_app_b")
    assert made.logs_in(first)
    assert made.logs_in(second)
    assert f"version {holders(made)[0]} is current now" in done.output


def test_programs_are_told_in_one_object_and_nobody_is_told_a_value(made: Place) -> None:
    said = [made.run("secrets", "rotate", "database", "--json"), made.run("secrets", "rotate", "database")]
    said += [made.run("secrets", "status"), made.run("secrets", "status", "--json", "database")]
    (told,) = json.loads(said[0].stdout)["secrets"]
    assert (told["name"], told["state"], told["resumed"]) == ("database", "rotated", False)
    outputs = "".join(result.output for result in said)
    for version in made.versions("database"):
        assert version.document()["password"] not in outputs


def acts(result: Result) -> list[tuple[str, dict[str, str]]]:
    """The audit lines: act and facts."""
    told = [line.split(" ")[1:] for line in result.stderr.splitlines()]
    return [(act, dict(fact.split("=", 1) for fact in facts)) for act, *facts in told]


ROTATED = ["rotation.created", "secret.read", "rotation.applied", "rotation.tested", "rotation.promoted"]


def test_each_access_and_change_is_a_line_on_standard_error_without_a_value(place: Place) -> None:
    """Without any setting: what nobody has asked for is missed when it is too late."""
    created = place.run("secrets", "create", "database", "--at", place.address)
    first = place.current("database")
    rotated = place.run("secrets", "rotate", "database")
    shown = place.run("secrets", "status", "database")
    untried = place.run("secrets", "status", "database", "--no-probe")
    back = place.run("secrets", "rollback", "database", "--yes")
    assert [act for act, _ in acts(created)] == ["secret.created", *ROTATED]
    assert acts(created)[0][1]["secret"] == f"file:{place.directory}/database"
    assert [act for act, _ in acts(rotated)] == ROTATED
    rotator = f"{place.directory}/rotator"
    own = f"file:{place.directory}/database"
    assert [facts["secret"] for _, facts in acts(rotated)] == [own, f"file:{rotator}", own, own, own]
    assert {facts["version"] for act, facts in acts(rotated) if act != "secret.read"} == {holders(place)[1]}
    assert [(act, facts["stage"]) for act, facts in acts(shown)] == [
        ("secret.read", "AWSCURRENT"),
        ("secret.read", "AWSPREVIOUS"),
    ]
    assert acts(untried) == []
    assert acts(back)[-1] == ("rotation.returned", {"secret": own, "version": holders(place)[0]})
    said = "".join(result.output for result in (created, rotated, shown, back))
    assert not [
        value for value in (first, *(v.document() for v in place.versions("database"))) if value["password"] in said
    ]


def test_a_command_that_logs_in_with_a_secret_tells_of_that_access(place: Place) -> None:
    assert place.run("secrets", "create", "maintenance-database", "--at", place.address).exit_code == 0
    words = [str(TEGATA), "keys", "list", "--tenant", "nobody"]
    done = run_to_its_end(words, env=place.environment(), timeout=120)
    assert "there is no tenant nobody" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if " secret.read " in line]
    assert f" secret=file:{place.directory}/maintenance " in line
    assert "secret.read" not in done.stdout


def test_an_administrators_login_that_cannot_be_read_is_a_line_too(made: Place) -> None:
    failed = made.run("secrets", "rotate", "database", TEGATA_ROTATION_ADMINISTRATOR="file:/nowhere/rotator")
    told = [facts for act, facts in acts(failed) if act == "secret.read_failed"]
    assert told
    assert {facts["reason"] for facts in told} == {"not_found"}


def test_status_tells_ages_whether_each_value_works_and_when_it_is_due(made: Place) -> None:
    made.run("secrets", "rotate", "database")
    made.age("database", 10)
    shown = made.run("secrets", "status", "database")
    assert shown.exit_code == 0, shown.output
    current, previous = holders(made)
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert lines[0] == f"database  file:{made.directory}/database  alternating-users, every 30 d"
    assert lines[1:3] == [f"AWSCURRENT  {current}  for 10 d  works", f"AWSPREVIOUS {previous}  for 10 d  works"]
    assert lines[3].startswith("next due 20")
    unprobed = json.loads(made.run("secrets", "status", "database", "--no-probe", "--json").stdout)["secrets"][0]
    assert [(label["label"], label["works"]) for label in unprobed["labels"]] == [
        ("AWSCURRENT", None),
        ("AWSPREVIOUS", None),
    ]
    assert (unprobed["overdue"], unprobed["unfinished"], unprobed["every_seconds"]) == (False, None, 30 * 86_400)


def test_status_ends_with_1_if_the_current_value_is_refused_or_nobody_rotates(made: Place) -> None:
    made.age("database", 32)
    overdue = made.run("secrets", "status", "database")
    assert (overdue.exit_code, "overdue" in overdue.output) == (1, True)
    made.age("database", -32)
    assert made.run("secrets", "status", "database").exit_code == 0
    made.set_password("tegata_app_a", "another one altogether")
    refused = made.run("secrets", "status", "database")
    assert (refused.exit_code, "does not work" in refused.output) == (1, True)


def test_status_of_a_secret_that_is_not_there_says_so_and_goes_on(made: Place) -> None:
    shown = made.run("secrets", "status")
    assert shown.exit_code == 1
    assert "maintenance-database  file:" in shown.output
    assert "cannot be told: secret maintenance: not_found" in shown.output
    assert "`tegata secrets create maintenance-database --at ADDRESS-OF-THE-DATABASE` makes it" in shown.output
    assert "AWSCURRENT" in shown.output


def test_what_was_begun_is_finished_under_the_same_version(made: Place) -> None:
    """A person has to act in between: the second login may not log in."""
    made.ask(b"alter role tegata_app_b nologin")
    stuck = made.run("secrets", "rotate", "database")
    assert stuck.exit_code == 1
    assert "trying again alone will not help" in stuck.output
    assert 'alter role "tegata_app_b" login' in stuck.output
    assert "Still true: the current credential is unchanged and valid." in stuck.output
    assert made.logs_in(made.current("database"))
    unfinished = made.store.labels("database").unfinished
    shown = made.run("secrets", "status", "database")
    assert f"`tegata secrets rotate database` goes on with version {unfinished}" in shown.output
    made.ask(b"alter role tegata_app_b login")
    done = made.run("secrets", "rotate", "database", "--json")
    (told,) = json.loads(done.stdout)["secrets"]
    assert (told["state"], told["resumed"], told["version"]) == ("rotated", True, unfinished)


def test_a_database_that_is_away_ends_with_3_and_changes_nothing(made: Place) -> None:
    before = made.current("database")
    value = json.loads(str(made.store.read("rotator").text)) | {"password": "wrong"}
    other = made.directory / "other.json"
    other.write_text(json.dumps(value))
    failed = made.run("secrets", "rotate", "database", TEGATA_ROTATION_ADMINISTRATOR=f"file:{other}")
    assert failed.exit_code == 3, failed.output
    assert "Next: run it again; what was begun goes on" in failed.output
    assert made.current("database") == before
    assert made.logs_in(before)
    assert made.run("secrets", "rotate", "database").exit_code == 0


def test_rollback_makes_the_previous_value_current_again(made: Place) -> None:
    made.run("secrets", "rotate", "database")
    current, previous = holders(made)
    nobody = failure(made.run("secrets", "rollback", "database"))
    assert (nobody.exit_code, "--yes" in str(nobody)) == (2, True)
    assert holders(made) == (current, previous)
    back = made.run("secrets", "rollback", "database", "--yes")
    assert back.exit_code == 0, back.output
    assert "is current again" in back.output
    assert holders(made) == (previous, current)
    assert made.logs_in(made.current("database"))


def test_a_rollback_while_a_rotation_is_unfinished_names_what_ends_that(made: Place) -> None:
    made.ask(b"alter role tegata_app_b nologin")
    assert made.run("secrets", "rotate", "database").exit_code == 1
    refused = made.run("secrets", "rollback", "database", "--yes")
    made.ask(b"alter role tegata_app_b login")
    assert refused.exit_code == 3, refused.output
    assert "Next: `tegata secrets rotate database` finishes what is unfinished; then roll back" in refused.stdout


def test_of_a_first_value_that_is_nobodys_it_is_not_said_that_it_is_valid(place: Place) -> None:
    away = place.address.replace(str(place.admin.port), "1")
    failed = place.run("secrets", "create", "database", "--at", away)
    assert failed.exit_code == 3, failed.output
    assert "valid" not in failed.output
    assert "Next: run it again" in failed.stdout


@pytest.mark.parametrize(("answer", "status"), [("database\n", 0), ("yes\n", 2)], ids=["by its name", "otherwise"])
def test_rollback_asks_at_a_terminal(made: Place, answer: str, status: int) -> None:
    made.run("secrets", "rotate", "database")
    before = holders(made)
    outside, inside = pty.openpty()
    try:
        process = WarmPopen(
            [str(TEGATA), "secrets", "rollback", "database"],
            stdin=inside,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=made.environment(),
            text=True,
        )
        os.write(outside, answer.encode())
        said, _ = process.communicate(timeout=120)
    finally:
        os.close(outside)
        os.close(inside)
    assert process.returncode == status, said
    assert "Type database to go on: " in said
    assert (holders(made) == before) is (status == 2)


def test_a_previous_value_that_does_not_work_any_more_is_not_gone_back_to(made: Place) -> None:
    made.run("secrets", "rotate", "database")
    before = holders(made)
    made.set_password("tegata_app_a", "another one altogether")
    refused = made.run("secrets", "rollback", "database", "--yes")
    assert refused.exit_code == 1
    assert "not rolled back" in refused.output
    assert "`tegata secrets rotate database` makes a new value instead" in refused.output
    assert holders(made) == before


def test_due_rotates_what_is_old_and_nothing_else(made: Place) -> None:
    maintenance = ("TEGATA_MAINTENANCE_DATABASE_SECRET", "")
    nothing = made.run("secrets", "rotate", "--due", **dict([maintenance]))
    assert (nothing.exit_code, nothing.output) == (0, "database: not due\n")
    made.age("database", 31)
    done = made.run("secrets", "rotate", "--due", **dict([maintenance]))
    assert (done.exit_code, "is current now" in done.output) == (0, True)
    assert made.run("secrets", "rotate", "--due", **dict([maintenance])).output == "database: not due\n"


def test_zero_days_is_never_by_itself_and_by_hand_as_ever(made: Place) -> None:
    made.age("database", 5000)
    by_hand = {"TEGATA_ROTATION_DAYS": "0", "TEGATA_MAINTENANCE_DATABASE_SECRET": ""}
    assert made.run("secrets", "rotate", "--due", **by_hand).output == "database: not due\n"
    shown = made.run("secrets", "status", **by_hand)
    assert (shown.exit_code, "never due by itself (TEGATA_ROTATION_DAYS is 0)" in shown.output) == (0, True)
    assert made.run("secrets", "rotate", "database", **by_hand).exit_code == 0


def test_one_that_fails_holds_up_no_other_and_the_gravest_is_the_status(made: Place) -> None:
    made.age("database", 31)
    done = made.run("secrets", "rotate", "--due")
    assert done.exit_code == 1
    assert "database: version" in done.output
    assert "maintenance-database: not rotated" in done.output


def test_a_name_that_nobody_knows_is_answered_with_those_there_are(place: Place) -> None:
    unknown = failure(place.run("secrets", "rotate", "databse"))
    assert (unknown.exit_code, "database, maintenance-database" in str(unknown)) == (2, True)
    nothing = failure(place.run("secrets", "rotate", "database", TEGATA_ROTATION_ADMINISTRATOR=""))
    assert "TEGATA_ROTATION_FILE" in str(nothing)
    assert place.run("secrets", "rotate").exit_code == 2
    assert place.run("secrets", "rotate", "database", "--due").exit_code == 2


def test_the_set_up_is_sql_that_an_administrator_runs_again_and_again(place: Place) -> None:
    printed = place.run("secrets", "setup", "database", "--rotator", "turner")
    assert printed.exit_code == 0
    for _ in range(2):
        place.ask(printed.output.encode())
    assert place.ask(b"select rolcanlogin from pg_roles where rolname = 'turner'") == [(True,)]
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        place.ask(b"drop role turner")
    place.ask(b"drop owned by turner; drop role turner")


@pytest.mark.parametrize(
    "at",
    [
        "postgresql://somebody:word@db.example/tegata",
        "https://db.example/tegata",
        "postgresql://db.example",
        "postgresql://db.example:port/tegata",
        "postgresql://db.example/tegata?connect_timeout=1",
    ],
)
def test_an_address_that_says_too_little_or_too_much_is_refused(place: Place, at: str) -> None:
    assert failure(place.run("secrets", "create", "database", "--at", at)).exit_code == 2
    assert not (place.directory / "database").exists()


def test_a_secret_is_made_once(made: Place) -> None:
    before = made.current("database")
    again = made.run("secrets", "create", "database", "--at", made.address)
    assert "exists already" in str(failure(again))
    assert f"remove {made.directory / 'database'}" in str(failure(again))
    assert made.current("database") == before


def test_a_secret_of_somebody_elses_api_is_typed_once(place: Place) -> None:
    """Its provider is a module of one's own."""
    place.directory.parent.joinpath("mailer.py").write_text(
        "import secrets\n"
        "class Keys:\n"
        "    def make(self, request): return 'key-' + secrets.token_urlsafe(16)\n"
        "    def check(self, key): return key.startswith('key-')\n"
        "    def revoke(self, key): pass\n"
        "keys = Keys()\n"
    )
    document = place.directory.parent / "rotation.yaml"
    document.write_text(
        "apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {name: mail}\n"
        f"spec: {{secret: 'file:{place.directory}/mail', strategy: generic-token, provider: 'mailer:keys'}}\n"
    )
    typed = f"key-{secrets.token_urlsafe(16)}"
    settings = {"TEGATA_ROTATION_FILE": str(document), "PYTHONPATH": str(place.directory.parent)}
    made = subprocess.run(
        [str(TEGATA), "secrets", "create", "mail"],
        input=f"{typed}\n",
        env=place.environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    store = place.store
    assert store.read("mail", stage="AWSPREVIOUS").text == HiddenText(typed)
    assert store.read("mail").text.startswith("key-")


def test_a_rotation_that_has_to_wait_ends_with_4_and_goes_on_later(place: Place) -> None:
    """Verifiers keep a JWKS for five minutes: a key that was published a moment ago does not sign yet."""
    document = place.directory.parent / "rotation.yaml"
    document.write_text(
        "apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {name: jwt}\n"
        f"spec: {{secret: 'file:{place.directory}/jwt', strategy: signing-keys}}\n"
    )
    settings = {"TEGATA_ROTATION_FILE": str(document)}
    assert place.run("secrets", "create", "jwt", **settings).exit_code == 0
    early = place.run("secrets", "rotate", "jwt", **settings)
    assert early.exit_code == 4, early.output
    assert "jwt: begun and not finished yet: " in early.output
    assert "Next: `tegata secrets rotate jwt` in " in early.output
    waiting = place.store.labels("jwt").unfinished
    still = json.loads(place.run("secrets", "rotate", "jwt", "--json", **settings).stdout)["secrets"][0]
    assert (still["state"], still["version"], still["resumed"]) == ("waiting", waiting, True)
    assert still["retry_after"] > 0
    shown = place.run("secrets", "status", "jwt", **settings)
    assert (shown.exit_code, "unfinished" in shown.output) == (0, True)


def test_a_rest_puts_the_next_rotation_off_and_not_the_first(place: Place) -> None:
    document = place.directory.parent / "rotation.yaml"
    document.write_text(
        "apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {name: app}\n"
        f"spec: {{secret: 'file:{place.directory}/database', strategy: alternating-users, group: tegata_app, "
        f"administrator: 'file:{place.directory}/rotator', rest_seconds: 330}}\n"
    )
    settings = {"TEGATA_ROTATION_FILE": str(document)}
    made = place.run("secrets", "create", "app", "--at", place.address, **settings)
    assert made.exit_code == 0, made.output
    first = place.current("database")
    early = place.run("secrets", "rotate", "app", **settings)
    assert (early.exit_code, "left alone until nobody has it in a cache" in early.output) == (4, True), early.output
    place.age("database", 1)
    assert place.run("secrets", "rotate", "app", **settings).exit_code == 0
    assert place.logs_in(first)
