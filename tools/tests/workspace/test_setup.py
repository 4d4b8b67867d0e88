"""Setting up: done once, again when what is pinned changes, and never mixed up with somebody else's environment."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from lock import check_without_addresses
from workspace.debian import DebianPackage
from workspace.environment import SetupError, own_variables
from workspace.node import _is_new_enough

from .conftest import Recorded


def done_by(checkout: Path, *purposes: str) -> list[str]:
    subject = Recorded(checkout)
    for purpose in purposes:
        subject.prepare(purpose)
    return subject.done


def test_the_second_time_there_is_nothing_to_do(checkout: Path) -> None:
    assert done_by(checkout, "run") == ["create", "run"]
    assert done_by(checkout, "run") == []


def test_what_the_tests_need_contains_what_the_server_needs(checkout: Path) -> None:
    assert done_by(checkout, "dev", "run") == ["create", "dev"]
    assert done_by(checkout, "run", "dev") == []


def test_the_server_s_packages_are_not_enough_for_the_tests(checkout: Path) -> None:
    assert done_by(checkout, "run", "dev") == ["create", "run", "dev"]


@pytest.mark.parametrize(
    "changed", ["requirements/run.txt", "requirements/build.txt", "packages/tegata/pyproject.toml"]
)
def test_a_changed_pin_or_dependency_is_installed(checkout: Path, changed: str) -> None:
    done_by(checkout, "run")
    (checkout / changed).write_text("changed\n")
    assert done_by(checkout, "run") == ["run"]


def test_an_environment_that_was_moved_is_made_anew(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    done_by(checkout, "run")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "checkout"
    shutil.copytree(checkout, elsewhere, symlinks=True)
    assert done_by(elsewhere, "run") == ["create", "run"]


def test_an_environment_without_a_working_python_is_made_anew(checkout: Path) -> None:
    done_by(checkout, "run")
    (checkout / ".venv/bin/python").unlink()
    assert done_by(checkout, "run") == ["create", "run"]


def test_an_environment_that_was_made_by_hand_is_kept(checkout: Path) -> None:
    Recorded(checkout)._create()
    assert done_by(checkout, "run") == ["run"]


def test_an_installation_that_failed_is_tried_again(checkout: Path) -> None:
    class Failing(Recorded):
        def _install(self, purpose: str) -> None:
            raise SetupError("no network")

    with pytest.raises(SetupError):
        Failing(checkout).prepare("run")
    assert done_by(checkout, "run") == ["run"]


def test_a_damaged_stamp_counts_as_none(checkout: Path) -> None:
    done_by(checkout, "run")
    (checkout / ".venv/tegata-run.json").write_text('{"root"')
    assert done_by(checkout, "run") == ["run"]


def test_the_stamp_says_where_and_for_which_python(checkout: Path) -> None:
    done_by(checkout, "run")
    stamp = json.loads((checkout / ".venv/tegata-run.json").read_text())
    assert stamp["root"] == str(checkout)
    assert stamp["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_variables_of_another_python_environment_are_not_passed_on() -> None:
    inherited = {"VIRTUAL_ENV": "/x", "PYTHONPATH": "/x", "PYTHONHOME": "/x", "PIP_USER": "1", "PIP_TARGET": "/x"}
    assert own_variables({**inherited, "LANG": "C", "TEGATA_PORT": "0"}) == {"LANG": "C", "TEGATA_PORT": "0"}


def test_a_debian_package_is_seen_by_any_of_its_programs(tmp_path: Path) -> None:
    assert not DebianPackage("x", ("no-such-program", str(tmp_path / "x")), "").is_present()
    assert DebianPackage("x", ("no-such-program", "sh"), "").is_present()
    assert DebianPackage("x", (str(tmp_path),), "").is_present()


@pytest.mark.parametrize(
    ("answer", "expected"), [("v18.20.4", False), ("v20.1.0", True), ("v24.0.0", True), ("", False)]
)
def test_node_is_used_from_version_20_on(tmp_path: Path, answer: str, expected: bool) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {answer}\n")
    node.chmod(0o755)
    assert _is_new_enough(str(node)) is expected
    assert not _is_new_enough(None)


@pytest.mark.parametrize("line", ["--find-links /wheels", "x @ https://mirror.example/x.whl", "# from mirror.example"])
def test_pins_that_tell_where_they_came_from_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.txt"
    path.write_text(f"x==1 \\\n    --hash=sha256:00\n{line}\n")
    with pytest.raises(SystemExit):
        check_without_addresses(path, {"PIP_INDEX_URL": "mirror.example"})


def test_pins_with_hashes_alone_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text("x==1 ; sys_platform != 'win32' \\\n    --hash=sha256:00\n")
    check_without_addresses(path, {})
