"""The chore without a process: how it ends early, and what is told of a store that is away."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tegata.cli.rotation.chore import Rotations, RotationsFailed
from tegata.cli.rotation.running import Stopping, pause_until, rotate_due
from tegata.cli.rotation.stores import Stores
from tegata.settings import Settings
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.token_state import HiddenText

pytestmark = pytest.mark.anyio

TOKEN = "0b51a1a0-5b0e-4c4b-9f0c-7d3c2b1a0f9e"
PROVIDER = '''
import threading
class Slow:
    """A provider that says when it is asked, and answers when it may."""
    asked, may_answer = threading.Event(), threading.Event()
    def make(self, request):
        self.asked.set()
        assert self.may_answer.wait(60)
        return "key-2"
    def check(self, key): return True
    def revoke(self, key): pass
slow = Slow()
'''


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two secrets of a slow provider, both due."""
    (tmp_path / "slow_provider.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(str(tmp_path))
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    store = FileVersions(directory, now=lambda: time.time() - 40 * 86_400)
    documents = []
    for name in ("one", "two"):
        store.create(name, HiddenText("key-1"))
        documents.append(
            f"apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {{name: {name}}}\n"
            f"spec: {{secret: 'file:{directory}/{name}', strategy: generic-token, provider: 'slow_provider:slow'}}\n"
        )
    path = tmp_path / "rotation.yaml"
    path.write_text("---\n".join(documents))
    return Settings(rotation_file=path)


async def test_a_chore_that_is_cancelled_ends_what_it_is_at_and_begins_nothing_new(settings: Settings) -> None:
    import slow_provider  # type: ignore[import-not-found] # the module that the fixture wrote

    rotations = Rotations(settings)
    running = asyncio.create_task(rotations.do())
    assert await asyncio.to_thread(slow_provider.slow.asked.wait, 60)
    running.cancel()
    await asyncio.sleep(0)
    with capture_logs() as logs:
        slow_provider.slow.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [line["name"] for line in logs if line["event"] == "secret_rotated"] == ["one"]


async def test_a_store_that_is_not_there_fails_the_job_and_the_log_says_which(tmp_path: Path) -> None:
    path = tmp_path / "rotation.yaml"
    path.write_text(
        "apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {name: lost}\n"
        f"spec: {{secret: 'file:{tmp_path}/lost', strategy: signing-keys}}\n"
    )
    with capture_logs() as logs, pytest.raises(RotationsFailed, match="lost"):
        await Rotations(Settings(rotation_file=path)).do()
    (told,) = logs
    assert (told["event"], told["name"], told["log_level"]) == ("secret_rotation_needs_a_person", "lost", "error")


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, FileVersions]:
    """One secret, young, with a rotation that somebody has begun."""
    (tmp_path / "quick_provider.py").write_text(
        "class Quick:\n    def make(self, request): return 'key-3'\n    def check(self, key): return True\n"
        "quick = Quick()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    store = FileVersions(directory)
    store.create("mail", HiddenText("key-1"))
    store.put_pending("mail", TOKEN, HiddenText("key-2"))
    path = tmp_path / "rotation.yaml"
    path.write_text(
        "apiVersion: tegata.dev/v1\nkind: RotatedSecret\nmetadata: {name: mail}\n"
        f"spec: {{secret: 'file:{directory}/mail', strategy: generic-token, provider: 'quick_provider:quick'}}\n"
    )
    return Settings(rotation_file=path), store


def test_what_somebody_else_finishes_at_this_moment_is_not_rotated_once_more(
    begun: tuple[Settings, FileVersions],
) -> None:
    settings, store = begun
    first = str(store.labels("mail").holder("AWSCURRENT"))

    def finished_meanwhile() -> float:
        store.promote("mail", TOKEN, replacing=first)
        return time.time()

    stores = Stores()
    (result,) = rotate_due(stores, Rotations(settings).secrets, finished_meanwhile, threading.Event())
    stores.close()
    assert (result.state, result.version) == ("rotated", TOKEN)
    assert set(store.labels("mail").versions) == {first, TOKEN}


def test_a_secret_that_somebody_else_is_at_waits(begun: tuple[Settings, FileVersions]) -> None:
    settings, store = begun
    stores = Stores()
    with store.exclusively("mail"):
        (result,) = rotate_due(stores, Rotations(settings).secrets, time.time, threading.Event())
    stores.close()
    assert result.state == "waiting"
    assert store.labels("mail").unfinished == TOKEN


async def test_that_somebody_is_at_a_secret_for_longer_than_from_one_run_to_the_next_is_a_warning(
    begun: tuple[Settings, FileVersions],
) -> None:
    settings, store = begun
    now = [time.time()]
    rotations = Rotations(settings, now=lambda: now[0])
    with capture_logs() as logs, store.exclusively("mail"):
        for passed in (0, 300, 1, 300):
            now[0] += passed
            assert await rotations.do() == {"waiting": 1}
    told = [(line["event"], line["log_level"], line.get("seconds")) for line in logs]
    waits, stays = ("secret_rotation_waits", "info", None), ("secret_rotation_stays_busy", "warning")
    assert told == [waits, waits, (*stays, 301), (*stays, 601)]
    assert (logs[2]["name"], logs[2]["version"]) == ("mail", TOKEN)


async def test_that_somebody_was_at_a_secret_long_ago_is_no_warning(begun: tuple[Settings, FileVersions]) -> None:
    """Other workers had the turns in between, and this one does not know what came of them."""
    settings, store = begun
    now = [time.time()]
    rotations = Rotations(settings, now=lambda: now[0])
    with capture_logs() as logs, store.exclusively("mail"):
        for passed in (0, 3_000):
            now[0] += passed
            await rotations.do()
    assert [line["event"] for line in logs] == ["secret_rotation_waits"] * 2


async def test_a_run_that_is_cancelled_again_and_again_ends_after_its_thread(
    begun: tuple[Settings, FileVersions],
) -> None:
    settings, _ = begun
    reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def clock() -> float:
        reached.set()
        assert go_on.wait(60)
        ended.set()
        return time.time()

    doing = asyncio.ensure_future(Rotations(settings, now=clock).do())
    assert await asyncio.to_thread(reached.wait, 60)
    for _ in range(5):
        doing.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not doing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert ended.is_set()


async def test_whoever_is_at_a_secret_again_after_it_was_rotated_is_no_warning(
    begun: tuple[Settings, FileVersions],
) -> None:
    settings, store = begun
    now = [time.time()]
    rotations = Rotations(settings, now=lambda: now[0])
    with store.exclusively("mail"):
        await rotations.do()
    now[0] += 300
    assert await rotations.do() == {"rotated": 1}
    now[0] += 40 * 86_400
    store.put_pending("mail", f"{TOKEN[:-1]}f", HiddenText("key-4"))
    with capture_logs() as logs, store.exclusively("mail"):
        await rotations.do()
    assert [line["event"] for line in logs] == ["secret_rotation_waits"]


def test_a_pause_ends_as_soon_as_the_process_is_to_end() -> None:
    stopping = threading.Event()
    pause_until(stopping)(0)
    stopping.set()
    with pytest.raises(Stopping):
        pause_until(stopping)(3600)


def test_nothing_is_begun_by_a_process_that_ends(settings: Settings) -> None:
    stopping = threading.Event()
    stopping.set()
    stores = Stores()
    assert list(rotate_due(stores, Rotations(settings).secrets, time.time, stopping)) == []
    stores.close()
