"""The home of `tegata dev`: private, recognised, and never somebody else's directory."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tegata.cli.dev.home import Home
from tegata.cli.dev.ways import Ways
from tegata.cli.failures import CommandFailure
from tegata.postgres.target import ConnectionTarget

TARGET = ConnectionTarget(host="/run/x", user="postgres", database="postgres")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_is_private(home: Home) -> None:
    assert mode(home.directory) == 0o700


def test_files_are_private_whatever_the_umask(home: Home) -> None:
    before = os.umask(0)
    try:
        home.master_key()
        home.write_secrets({"A": "b"})
        home.write("dev.json", "{}")
    finally:
        os.umask(before)
    assert {mode(path) for path in home.directory.iterdir()} == {0o600}


def test_a_file_is_replaced_as_a_whole(home: Home) -> None:
    home.write("dev.json", "old")
    with (home.directory / "dev.json").open() as opened:
        home.write("dev.json", "new")
        assert opened.read() == "old"
    assert (home.directory / "dev.json").read_text() == "new"
    assert [path.name for path in home.directory.iterdir() if path.name.startswith(".")] == []


def test_the_master_key_stays_the_same(home: Home) -> None:
    assert home.find_master_key() is None
    assert home.master_key() == home.master_key() == Home(home.directory).find_master_key()


def test_an_empty_directory_becomes_a_home(tmp_path: Path) -> None:
    Home(tmp_path).prepare()
    Home(tmp_path).prepare()


@pytest.mark.parametrize("act", [Home.prepare, Home.reset], ids=["prepare", "reset"])
def test_a_directory_with_other_things_is_refused_and_left_alone(tmp_path: Path, act: object) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "data").write_text("mine")
    assert callable(act)
    with pytest.raises(CommandFailure, match="TEGATA_HOME"):
        act(Home(tmp_path))
    assert (tmp_path / "thesis.tex").exists()
    assert (tmp_path / "postgres" / "data").exists()


def test_reset_deletes_only_what_a_start_makes(home: Home) -> None:
    home.master_key()
    home.write_secrets({"A": "b"})
    home.postgres.mkdir()
    (home.postgres / "data").write_text("rows")
    (home.directory / "notes.txt").write_text("mine")
    home.reset()
    assert home.find_master_key() is None
    assert home.secrets() == {}
    assert not home.postgres.exists()
    assert (home.directory / "notes.txt").read_text() == "mine"


def test_reset_does_not_follow_a_link(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data").write_text("mine")
    home.postgres.symlink_to(elsewhere)
    with pytest.raises(CommandFailure, match="link"):
        home.reset()
    assert (elsewhere / "data").exists()


def test_two_starts_in_one_home_exclude_each_other(home: Home) -> None:
    with home.locked(), pytest.raises(CommandFailure, match="another `tegata dev`"), home.locked():
        pass
    with home.locked():
        pass


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailure, match="TEGATA_HOME"):
        Home(tmp_path / "file" / "home").prepare()


def test_a_running_database_is_found_and_forgotten(home: Home) -> None:
    assert not home.is_running()
    home.write_database(TARGET)
    assert home.is_running()
    assert home.embedded_database() == TARGET
    home.forget_database()
    assert not home.is_running()
    assert home.embedded_database() is None


def test_a_killed_server_is_not_a_running_one(home: Home) -> None:
    home.write_database(TARGET)
    told = json.loads((home.directory / "database.json").read_text())
    (home.directory / "database.json").write_text(json.dumps(told | {"pid": 2**22 + 1}))
    assert not home.is_running()


def test_a_database_of_somebody_elses_is_not_written_down(home: Home) -> None:
    home.write_database(None)
    assert home.is_running()
    assert home.embedded_database() is None


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}"])
def test_damaged_files_are_as_good_as_none(home: Home, text: str) -> None:
    (home.directory / "database.json").write_text(text)
    (home.directory / "secrets.json").write_text(text)
    assert not home.is_running()
    assert home.secrets() == {}


def test_roles_log_in_themselves_where_the_socket_trusts_them() -> None:
    embedded = Ways(TARGET, embedded=True).entering("tegata_app")
    assert (embedded.user, embedded.role) == ("tegata_app", None)
    given = Ways(TARGET, embedded=False).entering("tegata_app")
    assert (given.user, given.role) == ("postgres", "tegata_app")
