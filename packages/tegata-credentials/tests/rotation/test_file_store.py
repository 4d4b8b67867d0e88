"""A directory of secrets survives crashes and full disks, lets nobody else in, and always has a readable `current`."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tegata_credentials.errors import (
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
)
from tegata_credentials.rotation.errors import RotationBusy, RotationRefused
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.sources.files import Files
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

NAME = "shop/prod/mail"
ONE, TWO, THREE = HiddenText("value-one"), HiddenText("value-two"), HiddenText("value-three")


@pytest.fixture
def store(tmp_path: Path) -> FileVersions:
    found = FileVersions(tmp_path / "secrets")
    found.create(NAME, ONE, "first")
    return found


@pytest.fixture
def place(store: FileVersions) -> Path:
    return Path(store.directory, NAME)


def points(store: FileVersions, act: str, how: str) -> list[FileVersions]:
    """Let `act` end at each point that there is; return the directories that were left."""
    script = Path(__file__).with_name("stopping.py")
    command = [sys.executable, script, store.directory, NAME, act, how]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return [FileVersions(f"{store.directory}.{number + 1}") for number in range(int(ran.stdout))]


def plain(store: FileVersions) -> str:
    return Path(store.directory, NAME, "current").read_text()


def state(store: FileVersions) -> dict[str, frozenset[str]]:
    return dict(store.labels(NAME).versions)


@pytest.mark.parametrize("how", ["stop", "full", "short"])
def test_a_version_that_is_put_is_there_wholly_or_not_at_all_wherever_it_ends(store, how, count):
    left = points(store, "put", how)
    states = [state(found) for found in left]
    for found, before in zip(left, states, strict=True):
        assert before in ({"first": {CURRENT}}, {"first": {CURRENT}, "second": {PENDING}})
        assert (found.read(NAME).text, plain(found)) == (ONE, ONE)
        # Whoever comes after may bring the same token with another value: nobody has seen the first.
        if "second" not in before:
            found.put_pending(NAME, "second", THREE)
            assert found.read(NAME, stage=PENDING).text == THREE
        else:
            found.put_pending(NAME, "second", TWO)
    assert "second" not in states[0]
    assert "second" in states[-1]
    count("file store, points of a change", **{f"put_{how}": len(left)})


@pytest.mark.parametrize("how", ["stop", "full", "short"])
def test_a_promotion_leaves_a_store_that_can_be_read_and_finished_wherever_it_ends(store, how, count):
    store.put_pending(NAME, "second", TWO)
    left = points(store, "promote", how)
    for found in left:
        labels = found.labels(NAME)
        assert found.read(NAME).text in (ONE, TWO)
        assert found.read(NAME, version="first").text == ONE
        assert found.read(NAME, version="second").text == TWO
        # Readers of files may be ahead of the labels, by a value that was tested; never behind them.
        assert plain(found) == TWO or labels.unfinished == "second"
        found.promote(NAME, "second", replacing="first")
        assert state(found) == {"second": {CURRENT}, "first": {PREVIOUS}}
        assert plain(found) == TWO
    assert found.labels(NAME).holder(CURRENT) == "second"
    count("file store, points of a change", **{f"promote_{how}": len(left)})


@pytest.mark.parametrize("how", ["stop", "full"])
def test_a_secret_that_is_created_exists_or_can_be_created_again_wherever_it_ends(store, how):
    for found in points(store, "create", how):
        try:
            assert found.read(f"{NAME}/new").text == "value-new"
        except SecretNotFound:
            found.create(f"{NAME}/new", HiddenText("value-new"))
        assert found.read(f"{NAME}/new").text == "value-new"
        assert found.read(NAME).text == ONE


def test_a_link_that_ran_ahead_of_a_promotion_nobody_resumed_is_put_right_before_the_next_value(store, place):
    store.put_pending(NAME, "second", TWO)
    (place / "current").unlink()
    (place / "current").symlink_to("versions/second")  # what a crash in the middle of a promotion leaves
    store.put_pending(NAME, "third", THREE)
    assert plain(store) == ONE


def test_files_are_for_their_owner_alone_and_links_stay_inside(store, place):
    store.put_pending(NAME, "second", TWO)
    store.promote(NAME, "second", replacing="first")
    with store.exclusively(NAME):
        pass
    for found in [Path(store.directory), *Path(store.directory).rglob("*")]:
        mode = found.lstat().st_mode
        if stat.S_ISLNK(mode):
            assert os.readlink(found) == "versions/second"
        else:
            assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), found
    assert sorted(child.name for child in place.iterdir()) == ["current", "labels.json", "lock", "rotating", "versions"]


@pytest.mark.parametrize("widened", ["", "labels.json", "versions", "versions/first", ".."])
def test_what_others_may_use_is_refused_and_the_cure_is_named(store, place, widened):
    path = place / widened
    path.chmod(0o755 if path.is_dir() else 0o644)
    with pytest.raises(SecretAccessDenied, match="chmod"):
        store.read(NAME)
    path.chmod(0o700 if path.is_dir() else 0o600)
    assert store.read(NAME).text == ONE


def test_what_belongs_to_somebody_else_is_refused_lest_the_owner_lose_it(store, place):
    if os.geteuid() == 0:
        os.chown(place, 65534, 65534)
    else:
        store = FileVersions("/")  # root's; only root can give a directory away
    with pytest.raises(SecretAccessDenied, match=r"belongs to user id \d+, and this process is"):
        store.put_pending(NAME, "second", TWO)


@pytest.mark.parametrize("replaced", ["labels.json", "versions", "versions/first"])
def test_a_link_in_place_of_a_file_is_not_followed(store, place, tmp_path, replaced):
    path, elsewhere = place / replaced, tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(SecretAccessDenied):
        store.read(NAME)


@pytest.mark.parametrize(
    "name",
    ["", "..", "../shop", "/etc", "a//b", "a/.hidden", "a/versions", "current", "a/lock/b", "a\0b", "a b", "a\n"],
)
def test_a_name_leads_nowhere_else(store, name):
    with pytest.raises(SecretNotFound):
        store.read(name)
    with pytest.raises(SecretNotFound):
        store.create(name, ONE)


@pytest.mark.parametrize("token", ["", "..", "../first", "a/b", "a" * 65, "-a", "a\n", ".draft"])
def test_a_version_is_named_by_letters_digits_and_hyphens(store, token):
    with pytest.raises(RotationRefused):
        store.put_pending(NAME, token, TWO)
    with pytest.raises(SecretNotFound):
        store.read(NAME, version=token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"labels": {}, "versions": {}}',
        '{"labels": {"AWSCURRENT": {"version": "none", "since": 0}}, "versions": {}}',
        '{"labels": {"AWSCURRENT": {"version": "../x", "since": 0}}, "versions": {"../x": 0}}',
        '{"labels": {"AWSCURRENT": "first"}, "versions": {"first": 0}}',
        "[" * 100_000,
    ],
    ids=["empty", "list", "no members", "nothing current", "no such version", "a path", "no time", "deep"],
)
def test_labels_that_make_no_sense_are_an_error_and_not_a_new_beginning(store, place, text):
    (place / "labels.json").write_text(text)
    with pytest.raises(SecretMalformed):
        store.labels(NAME)
    with pytest.raises(SecretMalformed):
        store.put_pending(NAME, "second", TWO)
    with pytest.raises(RotationRefused):
        store.create(NAME, TWO)
    assert (place / "labels.json").read_text() == text


def test_a_value_that_is_no_text_is_malformed(store, place):
    (place / "versions" / "first").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretMalformed):
        store.read(NAME)


def test_old_versions_go_and_labelled_ones_stay(tmp_path):
    clock = iter(range(1000))
    store = FileVersions(tmp_path / "secrets", keep=3, now=lambda: float(next(clock)))
    store.create(NAME, ONE, "v0")
    for number in range(1, 10):
        store.put_pending(NAME, f"v{number}", HiddenText(f"value {number}"))
        store.promote(NAME, f"v{number}", replacing=f"v{number - 1}")
    assert sorted(store.labels(NAME).versions) == ["v5", "v6", "v7", "v8", "v9"]
    assert sorted(os.listdir(tmp_path / "secrets" / NAME / "versions")) == ["v5", "v6", "v7", "v8", "v9"]
    # However long ago it was made, a version that has a label stays.
    store.promote(NAME, "v8", replacing="v9")
    store.put_pending(NAME, "p0", TWO)
    for number in range(1, 9):
        store.put_pending(NAME, f"p{number}", HiddenText(f"pending {number}"))
    assert {"v8", "v9", "p8"} <= set(store.labels(NAME).versions)
    assert len(store.labels(NAME).versions) == 6


def test_it_is_known_since_when_a_label_is_where_it_is(tmp_path):
    time = [100.0]
    store = FileVersions(tmp_path / "secrets", now=lambda: time[0])
    first = store.create(NAME, ONE)
    time[0] = 200.0
    store.put_pending(NAME, "second", TWO)
    time[0] = 300.0
    assert store.labels(NAME).moved_at == {CURRENT: 100.0, PENDING: 200.0}
    store.promote(NAME, "second", replacing=first)
    assert store.labels(NAME).moved_at == {CURRENT: 300.0, PREVIOUS: 300.0}


def test_an_announced_token_is_unfinished_and_keeps_others_out(store):
    store.announce(NAME, "second")
    store.announce(NAME, "second")
    assert store.labels(NAME).unfinished == "second"
    with pytest.raises(SecretNotFound):
        store.read(NAME, stage=PENDING)
    with pytest.raises(RotationBusy):
        store.announce(NAME, "third")
    with pytest.raises(SecretNotFound):
        store.promote(NAME, "second", replacing="first")
    store.put_pending(NAME, "second", TWO)
    store.promote(NAME, "second", replacing="first")
    with pytest.raises(RotationRefused):
        store.announce(NAME, "first")
    assert plain(store) == TWO


def test_a_secret_is_created_once(store):
    with pytest.raises(RotationRefused):
        store.create(NAME, TWO)
    assert store.read(NAME).text == ONE


def test_one_rotation_at_a_time_and_the_lock_ends_with_its_holder(store):
    twin = FileVersions(store.directory)
    with store.exclusively(NAME):
        with pytest.raises(RotationBusy), twin.exclusively(NAME):
            pass
        # Whoever only reads or writes is not kept out by it.
        twin.put_pending(NAME, "second", TWO)
    with twin.exclusively(NAME):
        pass
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from tegata_credentials.rotation.file_store import FileVersions\n"
            "with FileVersions(sys.argv[1]).exclusively(sys.argv[2]):\n    print('in', flush=True); sys.stdin.read()",
            store.directory,
            NAME,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        with pytest.raises(RotationBusy), store.exclusively(NAME):
            pass
        holder.kill()
    with store.exclusively(NAME):
        pass


def test_readers_see_a_whole_value_at_every_moment_of_many_rotations(store):
    rounds, ended, seen, latest = 30, threading.Event(), set(), time.monotonic() + 60
    store = replace(store, keep=0)  # a version is swept away while somebody who saw its label is about to open it

    def rotate() -> None:
        try:
            for number in range(rounds):
                before = store.labels(NAME).holder(CURRENT) or ""
                store.put_pending(NAME, f"r{number}", HiddenText(f"{number}:" + "x" * 5000))
                store.promote(NAME, f"r{number}", replacing=before)
                while len(seen) <= number // 7 and time.monotonic() < latest:
                    time.sleep(0.001)  # the readers are to see some of it, however busy the machine is
        finally:
            ended.set()

    def read(kind: int) -> None:
        source = Files(store.directory)
        while not ended.is_set():
            text = (plain(store), store.read(NAME).text, source.fetch(NAME).text)[kind]
            assert text == ONE or (text.endswith("x" * 5000) and text.index(":") < 4)
            seen.add(text[:4])

    with ThreadPoolExecutor(4) as threads:
        work = [threads.submit(read, kind) for kind in range(3)] + [threads.submit(rotate)]
        for done in work:
            done.result(timeout=120)
    assert len(seen) > 3
    assert plain(store).startswith(f"{rounds - 1}:")


def test_a_directory_that_is_gone_or_cannot_be_written_is_told_apart(store, place):
    shutil.rmtree(place)
    with pytest.raises(SecretNotFound):
        store.labels(NAME)
    (place.parent / "other").mkdir(mode=0o700)
    (place.parent / "other" / "versions").write_text("a file where a directory should be")
    (place.parent / "other" / "versions").chmod(0o600)
    with pytest.raises(SecretError):
        store.labels("shop/prod/other")


def test_no_error_repeats_a_value(store, place):
    store.put_pending(NAME, "second", TWO)
    with pytest.raises(RotationRefused) as refused:
        store.put_pending(NAME, "second", THREE)
    (place / "labels.json").write_text(json.dumps({"labels": str(ONE)}))
    with pytest.raises(SecretMalformed) as malformed:
        store.read(NAME)
    for caught in (refused, malformed):
        assert "value-" not in str(caught.value) + repr(caught.value)
    assert "value-" not in repr(store)
