"""Secrets in files, as platforms and people write them; and what is no secret of this directory."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_credentials.errors import SecretAccessDenied, SecretMalformed, SecretNotFound, SecretUnavailable
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.sources.files import Files
from tegata_credentials.testing.leaks import text_of
from tegata_credentials.token_state import HiddenText

VALUE = "value-in-a-file-5b7e"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("abc", "abc"),
        ("abc\n", "abc"),
        ("abc\r\n", "abc"),
        ("abc\n\n", "abc\n"),
        ("abc\r", "abc\r"),
        (" abc \n", " abc "),
        ("a\nb\n", "a\nb"),
        ("パス\n", "パス"),
    ],
)
def test_one_line_break_at_the_end_does_not_count(tmp_path, written, meant):
    write(tmp_path / "s", written)
    assert Files(tmp_path).fetch("s").text == meant


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe" + VALUE.encode(), "base64"),
        (VALUE.encode() + b"\0", "base64"),
        (b"x" * 65_537, "64 KiB"),
    ],
)
def test_what_is_no_text_of_a_fitting_size_is_malformed_and_shown_nowhere(tmp_path, written, hint):
    write(tmp_path / "s", written)
    with pytest.raises(SecretMalformed, match=hint) as caught:
        Files(tmp_path).fetch("s")
    assert VALUE not in text_of(caught.value)


def test_the_largest_text_is_read(tmp_path):
    write(tmp_path / "s", "x" * 65_536)
    assert len(Files(tmp_path).fetch("s").text) == 65_536


def test_the_version_changes_with_the_text_and_tells_nothing_of_it(tmp_path):
    source = Files(tmp_path)
    write(tmp_path / "s", VALUE)
    first = source.fetch("s")
    assert source.fetch("s") == first
    assert Files(tmp_path).fetch("s").version != first.version
    write(tmp_path / "s", VALUE + "!")
    assert source.fetch("s").version != first.version
    assert VALUE not in repr(first) + repr(source)


@pytest.mark.parametrize(
    "name", ["../outside", "a/../../outside", "/etc/passwd", "..data", "..", ".", "", "a//b", "s\0", "./s", "s/."]
)
def test_a_name_leads_nowhere_but_into_the_directory(tmp_path, name):
    write(tmp_path / "outside", VALUE)
    write(tmp_path / "in" / "s", VALUE)
    with pytest.raises(SecretNotFound, match="not the name of a file") as caught:
        Files(tmp_path / "in").fetch(name)
    assert caught.value.secret == name


@given(st.lists(st.sampled_from(["..", ".", "", "a", "out", "up", "s", "..data", "\0"]), max_size=6).map("/".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_name_nothing_outside_is_read(tmp_path, name):
    inside, outside = tmp_path / "in", write(tmp_path / "s", "outside")
    write(inside / "a" / "s", "inside")
    for link, target in (("out", outside), ("up", tmp_path)):
        if not (inside / link).is_symlink():
            (inside / link).symlink_to(target)
    with suppress(SecretNotFound, SecretMalformed):
        assert Files(inside).fetch(name).text == "inside"


def test_a_name_may_have_parts_and_begin_with_a_dot(tmp_path):
    write(tmp_path / "shop" / "prod" / ".dockerconfigjson", "{}")
    assert Files(tmp_path).fetch("shop/prod/.dockerconfigjson").text == "{}"


@pytest.mark.parametrize("depth", ["the file", "its directory"])
def test_a_link_that_leads_out_is_refused(tmp_path, depth):
    outside = write(tmp_path / "elsewhere" / "s", VALUE)
    (tmp_path / "in").mkdir()
    if depth == "the file":
        (tmp_path / "in" / "s").symlink_to(outside)
        name = "s"
    else:
        (tmp_path / "in" / "d").symlink_to(outside.parent)
        name = "d/s"
    with pytest.raises(SecretNotFound, match="leads out"):
        Files(tmp_path / "in").fetch(name)
    # A neighbour whose name begins with the same letters is outside too.
    (tmp_path / "in-2").mkdir()
    (tmp_path / "in" / "n").symlink_to(write(tmp_path / "in-2" / "s", VALUE))
    with pytest.raises(SecretNotFound, match="leads out"):
        Files(tmp_path / "in").fetch("n")
    assert Files().fetch(str(tmp_path / "in" / "n")).text == VALUE


def test_the_directory_itself_may_be_a_link(tmp_path):
    write(tmp_path / "real" / "s", VALUE)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Files(tmp_path / "link").fetch("s").text == VALUE


def test_what_is_missing_forbidden_or_no_file_has_its_own_error(tmp_path):
    source = Files(tmp_path)
    with pytest.raises(SecretNotFound, match="there is no file"):
        source.fetch("absent")
    (tmp_path / "directory").mkdir()
    with pytest.raises(SecretMalformed, match="no regular file"):
        source.fetch("directory")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretMalformed, match="no regular file"):
        source.fetch("pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SecretUnavailable):
        source.fetch("loop")
    with pytest.raises(SecretNotFound, match="AWSPENDING"):
        source.fetch(str(write(tmp_path / "s", VALUE).name), stage="AWSPENDING")


def test_a_file_of_somebody_else_is_access_denied(tmp_path):
    write(tmp_path / "s", VALUE).chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(SecretAccessDenied, match="owner and mode"):
            Files(tmp_path).fetch("s")
        return
    child = os.fork()  # root may read everything, so somebody else has to try
    if child == 0:
        answer = 1
        try:
            tmp_path.chmod(0o755)
            os.chdir(tmp_path)
            os.setuid(65534)
            Files(".").fetch("s")
        except SecretAccessDenied:
            answer = 0
        finally:
            os._exit(answer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def kubernetes_swap(volume: Path, number: int) -> None:
    """Publish as the kubelet does: a new directory, `..data` renamed onto the link, the old directory removed."""
    fresh = volume / f"..2026_{number}"
    write(fresh / "user", f"app_{number}")
    write(fresh / "password", f"password-{number}")
    old = os.readlink(volume / "..data") if (volume / "..data").is_symlink() else None
    (volume / "..data_tmp").symlink_to(fresh.name)
    os.rename(volume / "..data_tmp", volume / "..data")
    for name in ("user", "password"):
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")
    if old is not None:
        shutil.rmtree(volume / old)


def test_a_kubernetes_volume_is_read_while_it_is_swapped(tmp_path):
    kubernetes_swap(tmp_path, 0)
    source, seen, is_over = Files(tmp_path), [], threading.Event()

    def swap() -> None:
        for number in range(1, 150):
            kubernetes_swap(tmp_path, number)
        is_over.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    while not is_over.is_set():
        seen.append(int(source.fetch("password").text.removeprefix("password-")))
    swapper.join()
    assert source.fetch("password").text == "password-149"
    assert seen == sorted(seen)
    assert {name for name in os.listdir(tmp_path) if not name.startswith("..")} == {"user", "password"}


def test_a_file_that_is_replaced_by_renaming_is_read_whole(tmp_path):
    texts = [letter * 60_000 for letter in "ab"]
    write(tmp_path / "s", texts[0])
    is_over = threading.Event()

    def rename() -> None:
        for number in range(300):
            write(tmp_path / ".fresh", texts[number % 2])
            os.replace(tmp_path / ".fresh", tmp_path / "s")
        is_over.set()

    renamer = threading.Thread(target=rename)
    renamer.start()
    source = Files(tmp_path)
    while not is_over.is_set():
        assert source.fetch("s").text in texts
    renamer.join()


def test_a_directory_of_rotation_is_read_by_its_labels(tmp_path):
    store = FileVersions(tmp_path)
    first = store.create("shop-dev-secret-jwt", HiddenText("one"))
    store.put_pending("shop-dev-secret-jwt", "token-2", HiddenText("two"))
    source = Files(tmp_path)
    found = source.fetch("shop-dev-secret-jwt")
    assert (found.text, found.version, found.secret) == ("one", first, "shop-dev-secret-jwt")
    assert source.fetch("shop-dev-secret-jwt", stage="AWSPENDING").text == "two"
    store.promote("shop-dev-secret-jwt", "token-2", replacing=first)
    assert source.fetch("shop-dev-secret-jwt").version == "token-2"
    assert source.fetch("shop-dev-secret-jwt", stage="AWSPREVIOUS").text == "one"
    by_path = Files().fetch(str(tmp_path / "shop-dev-secret-jwt"))
    assert (by_path.text, by_path.secret) == ("two", str(tmp_path / "shop-dev-secret-jwt"))
    assert Files(tmp_path / "shop-dev-secret-jwt").fetch("current").text == "two"
    (tmp_path / "shop-dev-secret-jwt").chmod(0o755)
    with pytest.raises(SecretAccessDenied, match="chmod 700"):
        source.fetch("shop-dev-secret-jwt")


def test_many_have_an_outcome_each(tmp_path):
    write(tmp_path / "s", VALUE)
    found = Files(tmp_path).fetch_many(["absent", "s", "absent"])
    assert list(found) == ["absent", "s"]
    assert isinstance(found["absent"], SecretNotFound)
    assert found["s"].text == VALUE
