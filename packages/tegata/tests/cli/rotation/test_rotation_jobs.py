"""Rotation as a job of `tegata worker`: real processes, killed in the middle, on a real database."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tegata_credentials.rotation.event import STEPS

from .conftest import Place
from .gate import Gate


@pytest.fixture
def gate(place: Place) -> Iterator[Gate]:
    """The door that rotations go through; the queue and its jobs have their own way in."""
    made = Gate(place.admin.port)
    yield made
    made.close()


@pytest.fixture
def made(place: Place, gate: Gate) -> Place:
    """Two secrets: the application's, rotated through the gate, and the one that the worker itself logs in with."""
    through = place.address.replace(str(place.admin.port), str(gate.port))
    for name, at in (("database", through), ("maintenance-database", place.address)):
        done = place.run("secrets", "create", name, "--at", at)
        assert done.exit_code == 0, done.output
    return place


def worked_once(place: Place, **changed: str) -> tuple[int, list[dict[str, Any]]]:
    process = place.start("worker", "--once", **changed)
    said, _ = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in said.splitlines()]


def forget_the_dead(place: Place) -> None:
    """Let the worker that was killed be silent for long enough."""
    place.ask(b"update tegata_jobs.procrastinate_workers set last_heartbeat = now() - interval '1 hour'")


def told(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


def passwords(place: Place, name: str = "database") -> dict[str, str]:
    return {version.version: version.document()["password"] for version in place.versions(name)}


def test_what_is_due_is_rotated_by_the_worker_that_logs_in_with_it(made: Place) -> None:
    made.age("database", 31)
    made.age("maintenance", 31)
    code, lines = worked_once(made, TEGATA_EMBEDDED_METRICS="true")
    assert code == 0, lines
    figures = [line for line in lines if "_aws" in line]
    lines = [line for line in lines if "_aws" not in line]
    assert [line["RotationSucceeded"] for line in figures if "RotationSucceeded" in line] == [[1, 1]]
    assert {line["step"] for line in figures if "RotationStepDuration" in line} == set(STEPS)
    assert [line["name"] for line in told(lines, "secret_rotated")] == ["database", "maintenance-database"]
    (job,) = (line for line in told(lines, "job_done") if line["job"] == "rotations")
    assert job["rotated"] == 2
    assert {line["event"] for line in lines} >= {"rotation.created", "rotation.applied", "rotation.promoted"}
    assert made.current("maintenance")["username"] == "tegata_maint_b"
    text = json.dumps(lines)
    assert not [value for value in (passwords(made) | passwords(made, "maintenance")).values() if value in text]
    code, lines = worked_once(made)
    assert (code, told(lines, "secret_rotated")) == (0, [])


# Connections of one rotation: does the pending value log in, the rotator, the test, and the test before the end.
@pytest.mark.parametrize("number", [1, 2, 3, 4], ids=["value made", "rotator", "password set", "tested"])
def test_a_worker_killed_at_any_point_leaves_a_rotation_that_the_next_one_finishes(
    made: Place, gate: Gate, number: int
) -> None:
    made.age("database", 31)
    before = made.current("database")
    gate.hold(number)
    process = made.start("worker", "--once")
    try:
        assert gate.holds.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    gate.open()
    began = made.store.labels("database").unfinished
    assert began is not None
    assert made.current("database") == before
    assert made.logs_in(before)
    values = passwords(made)
    if number == 3:
        forget_the_dead(made)
        code, lines = worked_once(made)
        assert code == 0, lines
        (rotated,) = told(lines, "secret_rotated")
    else:  # the same, without a second process
        done = made.run("secrets", "rotate", "--due", "--json")
        assert done.exit_code == 0, done.output
        (rotated,) = [each for each in json.loads(done.stdout)["secrets"] if each["state"] == "rotated"]
    assert (rotated["version"], rotated["resumed"]) == (began, True)
    assert passwords(made) == values  # no version was changed, none was made beside
    assert made.current("database")["username"] == "tegata_app_b"
    assert made.logs_in(made.current("database"))
    assert made.logs_in(before)


def test_a_worker_killed_while_the_database_changes_the_password_loses_nothing(made: Place, gate: Gate) -> None:
    made.age("database", 31)
    before = made.current("database")
    with made.session() as holder:
        holder.execute("alter role tegata_app_b connection limit 50")
        process = made.start("worker", "--once")
        try:
            made.wait_for(
                b"select count(*) from pg_stat_activity where usename = 'rotator' and wait_event_type = 'Lock'", [(1,)]
            )
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        holder.rollback()
        # The server ends what the dead one has asked for.
        made.wait_for(b"select count(*) from pg_stat_activity where usename = 'rotator'", [(0,)])
    began = made.store.labels("database").unfinished
    assert made.logs_in(before)
    forget_the_dead(made)
    code, lines = worked_once(made)
    assert (code, [line["version"] for line in told(lines, "secret_rotated")]) == (0, [began])
    assert made.logs_in(made.current("database"))


def test_of_two_workers_one_rotates(made: Place) -> None:
    made.age("database", 31)
    versions = set(made.store.labels("database").versions)
    processes = [made.start("worker", "--once") for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    lines = [json.loads(line) for text in said for line in text.splitlines()]
    assert len(told(lines, "secret_rotated")) == 1
    assert len(set(made.store.labels("database").versions) - versions) == 1


def test_a_command_beside_a_worker_waits_for_nobody_and_breaks_nothing(made: Place, gate: Gate) -> None:
    made.age("database", 31)
    gate.hold(2)
    process = made.start("worker", "--once")
    try:
        assert gate.holds.wait(60)
        busy = made.run("secrets", "rotate", "database")
        gate.open()
        said, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert busy.exit_code == 3
    assert "Next: run it again" in busy.output
    assert process.returncode == 0, said


def test_a_failure_is_told_and_holds_up_no_other_secret(made: Place) -> None:
    made.age("database", 31)
    made.age("maintenance", 31)
    made.ask(b"alter role tegata_app_b nologin")
    code, lines = worked_once(made)
    made.ask(b"alter role tegata_app_b login")
    assert code == 3
    (failed,) = told(lines, "secret_rotation_needs_a_person")
    assert (failed["name"], failed["still_valid"]) == ("database", "the current credential is unchanged and valid")
    assert [line["name"] for line in told(lines, "secret_rotated")] == ["maintenance-database"]
    assert [line["job"] for line in told(lines, "job_failed")] == ["rotations"]
    code, lines = worked_once(made)
    assert (code, [line["resumed"] for line in told(lines, "secret_rotated")]) == (0, [True])


def test_a_worker_outlives_the_rotation_of_its_own_login(made: Place) -> None:
    """Two rotations, so that the login it began with has another password; then every session is ended."""
    process = made.start("worker", TEGATA_PURGE_INTERVAL_MINUTES="1")
    try:
        made.wait_for(b"select count(*) from tegata_jobs.procrastinate_workers", [(1,)])
        for _ in range(2):
            assert made.run("secrets", "rotate", "maintenance-database").exit_code == 0
        made.ask(b"select pg_terminate_backend(pid) from pg_stat_activity where usename ~ '^tegata_maint'")
        made.ask(
            b"set search_path = tegata_jobs; insert into procrastinate_jobs (queue_name, task_name, args)"
            b" values ('tegata', 'old_jobs', '{\"timestamp\": 1}')"
        )
        done = b"select status::text from tegata_jobs.procrastinate_jobs where args ->> 'timestamp' = '1'"
        made.wait_for(done, [("succeeded",)])
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, said


def test_a_document_that_is_wrong_ends_the_worker_at_once(place: Place) -> None:
    place.run("secrets", "create", "maintenance-database", "--at", place.address)
    document = place.directory.parent / "rotation.yaml"
    document.write_text("apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {name: x}\nspec: {strategy: y}\n")
    process = place.start("worker", TEGATA_ROTATION_FILE=str(document))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert f"{document}:4: RotatedSecret x: spec" in said
