"""What others are told: callbacks of each further version, an observer of figures and audit lines."""

from __future__ import annotations

import threading

import pytest

from tegata_credentials.errors import SecretNotFound, SecretThrottled
from tegata_credentials.secret_service import Login, SecretNames, SecretService

from .scripted import login, until, until_all_threads_have_ended

FULL = "shop-prod-secret-database"


class TestCallbacks:
    def test_are_called_once_for_each_further_version(self, service, store):
        told: list[tuple[str, str]] = []
        service.on_change(lambda secret, version: told.append((secret, version.version)))
        for version in ("v1", "v1", "v2", "v2", "v3"):
            store.put("db", login(version), version)
            service.invalidate("db")
            service.get_version("db")
        until(lambda: len(told) >= 2)
        assert told == [("db", "v2"), ("db", "v3")]

    def test_one_that_fails_does_not_keep_the_others_from_it(self, service, store, memory, caplog):
        told: list[str] = []

        def fail(secret: str, version: object) -> None:
            raise RuntimeError("hunter2")

        service.on_change(fail)
        service.on_change(lambda secret, version: told.append(version.version))
        for version in ("v1", "v2"):
            store.put("db", login(version), version)
            service.invalidate("db")
            service.get_version("db")
        until(lambda: told)
        assert told == ["v2"]
        assert memory.total("SecretChangeCallbackFailed") == 1
        assert "on_change callback failed: db: RuntimeError" in [record.getMessage() for record in caplog.records]
        assert "hunter2" not in str([record.__dict__ for record in caplog.records])

    def test_can_be_ended_and_may_read_the_service(self, service, store):
        told: list[str] = []
        stop = service.on_change(lambda secret, _: told.append(service.get(secret, Login).username))
        for number, user in enumerate(("app_a", "app_b", "app_a")):
            store.put("db", login("x", user), f"v{number}")
            service.invalidate("db")
            service.get_version("db")
            if number == 1:
                until(lambda: told)
                stop()
        assert told == ["app_b"]

    def test_are_not_told_of_pending_versions(self, service, store, clock):
        told: list[str] = []
        service.on_change(lambda _, version: told.append(version.version))
        store.put("db", login("one"), "v1")
        for version in ("v2", "v3"):
            store.put("db", login("two"), version, "AWSPENDING")
            with service.use("db", Login, budget=0.0, allow_pending=True) as offer:
                offer.refused()
                assert offer.version == version
            clock.pass_by(60.0)
        store.put("db", login("three"), "v4")
        service.invalidate("db")
        service.get_version("db")
        until(lambda: told)
        assert told == ["v4"]

    def test_a_slow_one_holds_up_no_reader(self, service, store):
        may_end = threading.Event()
        service.on_change(lambda *_: may_end.wait(60.0))
        for version in ("v1", "v2", "v3"):
            store.put("db", login(version), version)
            service.invalidate("db")
            assert service.get_version("db").version == version
        may_end.set()

    def test_a_secret_that_was_away_and_is_another_is_told(self, service, store, clock):
        told: list[str] = []
        service.on_change(lambda _, version: told.append(version.version))
        store.put("db", login("one"), "v1")
        service.get_version("db")
        store.fail("db", SecretNotFound("db"))
        service.invalidate("db")
        with pytest.raises(SecretNotFound):
            service.get_version("db")
        clock.pass_by(60.0)
        store.put("db", login("two"), "v2")
        service.get_version("db")
        until(lambda: told)
        assert told == ["v2"]


class TestTheLogWithoutAnyFormatter:
    """As a program has it that has set up no logging: only the text of a line is shown, and warnings."""

    def test_says_which_secret_was_not_read_and_why(self, service, store, caplog):
        store.fail("db", SecretThrottled("db", "hunter2"))
        with pytest.raises(SecretThrottled):
            service.get("db", Login)
        until(lambda: caplog.records)
        (line,) = caplog.records
        assert (line.levelname, line.getMessage()) == ("WARNING", "secret not read: db: throttled")
        assert (line.secret, line.reason) == ("db", "throttled")


class TestWhatAnObserverIsTold:
    def test_fetches_hits_stale_reads_and_durations(self, service, store, memory, clock):
        store.put("db", login("one"), "v1")
        for _ in range(10):
            service.get("db", Login)
        store.fail("db", SecretThrottled("db"))
        clock.pass_by(301.0)
        for _ in range(3):
            service.get("db", Login)
        until_all_threads_have_ended()
        service.close()
        assert memory.total("SecretFetchSucceeded") == 1
        assert memory.total("SecretFetchFailed") == memory.total("SecretFetchThrottled") == 1
        assert memory.total("SecretCacheHits") == 9
        assert memory.total("SecretStaleServed") == 3
        assert len([name for name, *_ in memory.metrics if name == "SecretFetchDuration"]) == 2
        assert {"source": "script", "reason": "throttled"} in [dimensions for *_, dimensions in memory.metrics]

    def test_an_audit_line_for_each_access_to_the_store_and_each_change(self, store, memory, clock):
        shop = SecretService(store, names=SecretNames("shop", "prod"), observer=memory, timing=clock.timing())
        store.put(FULL, login("hunter2"), "v1")
        shop.get("database", Login)
        store.put(FULL, login("correct horse"), "v2")
        shop.invalidate("database")
        shop.get("database", Login)
        until(lambda: memory.acts("secret.changed"))
        with pytest.raises(SecretNotFound):
            shop.get("missing", Login)
        until(lambda: memory.acts("secret.read_failed"))
        assert [facts["version"] for facts in memory.acts("secret.read")] == ["v1", "v2"]
        assert memory.acts("secret.changed") == [{"secret": FULL, "before": "v1", "version": "v2"}]
        assert memory.acts("secret.read_failed")[0]["reason"] == "not_found"
        shop.close()
        assert "hunter2" not in f"{memory.audits}{memory.metrics}"
        assert "correct horse" not in f"{memory.audits}{memory.metrics}"
