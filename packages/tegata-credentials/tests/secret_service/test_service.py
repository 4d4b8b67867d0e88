"""What a program calls: names, models, defaults, and several secrets at once."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading

import pytest

from tegata_credentials.errors import (
    CredentialError,
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)
from tegata_credentials.secret_service import (
    DatabaseCredentials,
    JwtSecret,
    Login,
    LoginRefused,
    SecretNames,
    SecretService,
    SecretsInMemory,
)
from tegata_credentials.secret_service.workers import Workers

from .scripted import login, until, until_all_threads_have_ended

pytestmark = pytest.mark.anyio

DATABASE = {"username": "app_a", "password": "hunter2", "host": "db.example.com", "dbname": "shop"}
JWT = {"secret": "c2hhcmVk", "algorithm": "HS256", "issuer": "shop-prod", "expiresIn": "24h"}
EXTERNAL = {
    "bedrock": {"region": "ap-northeast-1", "modelId": "amazon.nova-micro-v1:0"},
    "ses": {"region": "ap-northeast-1", "fromEmail": "noreply@example.com", "replyToEmail": "support@example.com"},
}
ALL = ("shop-prod-secret-database", "shop-prod-secret-jwt", "shop-prod-secret-external-apis")


@pytest.fixture
def shop(store, clock, memory):
    for secret, value in zip(ALL, (DATABASE, JWT, EXTERNAL), strict=True):
        store.put(secret, value, "v1")
    made = SecretService(store, names=SecretNames("shop", "prod"), observer=memory, timing=clock.timing())
    yield made
    made.close()


class TestNames:
    def test_the_three_short_names_are_expanded(self):
        names = SecretNames("goal-mandala", "dev")
        assert names.expand("database") == "goal-mandala-dev-secret-database"
        assert names.expand("jwt") == "goal-mandala-dev-secret-jwt"
        assert names.expand("external-apis") == "goal-mandala-dev-secret-external-apis"

    @pytest.mark.parametrize(
        "name",
        [
            "goal-mandala-dev-secret-database",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:database-AbCdEf",
            "file:/run/secrets/database",
            "payments",
        ],
    )
    def test_every_other_name_stays_as_it_is(self, name):
        assert SecretNames("goal-mandala", "dev").expand(name) == name

    @pytest.mark.parametrize(("project", "environment"), [("", "dev"), ("shop", ""), ("a b", "dev"), ("shop", "d:v")])
    def test_a_name_that_no_store_would_take_is_refused(self, project, environment):
        with pytest.raises(CredentialError):
            SecretNames(project, environment)

    def test_short_and_full_name_share_one_read(self, shop, store):
        assert shop.get("database", Login) is shop.get(ALL[0], Login)
        assert len(store.calls) == 1


class TestTypedReads:
    def test_the_three_by_name(self, shop):
        assert shop.get_database_credentials().host == "db.example.com"
        assert shop.get_jwt_secret().is_shared
        assert shop.get_external_api_credentials().ses.reply_to_email == "support@example.com"

    async def test_the_three_by_name_for_asyncio(self, shop):
        assert (await shop.aget_database_credentials()).dbname == "shop"
        assert (await shop.aget_jwt_secret()).issuer == "shop-prod"
        assert (await shop.aget_external_api_credentials()).bedrock.model_id == "amazon.nova-micro-v1:0"
        assert (await shop.aget_version("jwt")).version == "v1"

    def test_all_three_cause_one_call(self, shop, store):
        everything = shop.get_all_secrets()
        assert (everything.database.username, everything.jwt.algorithm) == ("app_a", "HS256")
        assert everything.external_apis.ses.region == "ap-northeast-1"
        assert store.calls == [ALL]

    async def test_all_three_for_asyncio(self, shop, store):
        assert (await shop.aget_all_secrets()).database.username == "app_a"
        assert store.calls == [ALL]

    def test_one_that_is_missing_fails_all_three(self, shop, store):
        store.fail(ALL[1], SecretAccessDenied(ALL[1]))
        with pytest.raises(SecretAccessDenied):
            shop.get_all_secrets()

    def test_a_model_is_made_once_for_each_version(self, shop, store):
        first = shop.get("database", DatabaseCredentials)
        assert shop.get("database", DatabaseCredentials) is first
        store.put(ALL[0], DATABASE | {"username": "app_b"}, "v2")
        shop.invalidate("database")
        assert shop.get("database", DatabaseCredentials).username == "app_b"

    @pytest.mark.parametrize(
        "text", ["hunter2", '["hunter2"]', '{"username": "hunter2"}', '{"password": {"x": "hunter2"}}']
    )
    def test_a_malformed_value_is_told_by_field_and_kind(self, shop, store, text):
        store.put(ALL[0], text, "v9")
        with pytest.raises(SecretMalformed) as caught:
            shop.get_database_credentials()
        assert "hunter2" not in str(caught.value)
        assert caught.value.http_status == 500

    def test_the_raw_document_keeps_what_no_model_names(self, shop, store):
        store.put(ALL[0], DATABASE | {"note": "kept"}, "v2")
        assert shop.get_version("database").document()["note"] == "kept"


class TestSeveralAtOnce:
    def test_each_gets_a_value_or_an_error(self, shop, store):
        store.put("broken", "no json", "v1")
        found = shop.get_many({"database": Login, "broken": Login, "missing": Login})
        assert found["database"].username == "app_a"
        assert {name: type(error) for name, error in found.errors.items()} == {
            "broken": SecretMalformed,
            "missing": SecretNotFound,
        }
        raised = set()
        for _ in range(2):
            with pytest.raises(SecretNotFound) as caught:
                found["missing"]
            raised.add(caught.value)
        assert len(raised) == 2, "two callers share one error and its traceback"
        assert sorted(found) == ["broken", "database", "missing"]
        assert len(store.calls) == 1

    async def test_names_without_models_get_versions(self, shop):
        found = await shop.aget_many(["database", "jwt"])
        assert found["jwt"].document()["issuer"] == "shop-prod"

    def test_only_what_is_not_in_memory_is_asked_for(self, shop, store):
        shop.get_jwt_secret()
        shop.get_many(["database", "jwt", "external-apis"])
        assert store.calls == [(ALL[1],), (ALL[0], ALL[2])]
        shop.get_many(["database", "jwt", "external-apis"])
        assert len(store.calls) == 2

    @pytest.mark.parametrize("failure", [SecretAccessDenied("batch"), RuntimeError("hunter2"), CredentialError("no")])
    def test_a_store_that_does_not_allow_it_is_asked_one_by_one(self, shop, store, failure):
        store.batch_failure = failure
        assert shop.get_all_secrets().database.username == "app_a"
        assert sorted(store.calls) == sorted([ALL, *((secret,) for secret in ALL)])

    @pytest.mark.parametrize("error", [SecretThrottled, SecretUnavailable])
    def test_a_store_that_fails_as_a_whole_is_not_asked_one_by_one(self, shop, store, error):
        store.batch_failure = error("batch", "try later")
        found = shop.get_many(["database", "jwt"])
        assert {name: (type(e), e.secret, e.hint) for name, e in found.errors.items()} == {
            "database": (error, ALL[0], "try later"),
            "jwt": (error, ALL[1], "try later"),
        }
        assert len(store.calls) == 1

    def test_an_id_that_the_answer_leaves_out_is_asked_for_alone(self, store, clock):
        class Forgetful(type(store)):
            def fetch_many(self, secrets):
                return {name: found for name, found in super().fetch_many(secrets).items() if name != "b"}

        forgetful = Forgetful()
        for name in "abc":
            forgetful.put(name, login("one"), "v1")
        service = SecretService(forgetful, timing=clock.timing())
        assert service.get_many(["a", "b", "c"]).errors == {}
        assert forgetful.calls == [("a", "b", "c"), ("b",)]
        service.close()

    def test_it_joins_a_fetch_that_is_under_way(self, patient_service, store):
        for name in "ab":
            store.put(name, login("one"), "v1")
        gate = store.shut("a")
        reader = threading.Thread(target=patient_service.get, args=("a", Login))
        reader.start()
        until(lambda: store.calls)
        found = []
        both = threading.Thread(target=lambda: found.append(patient_service.get_many(["a", "b"])))
        both.start()
        until(lambda: len(store.calls) == 2)
        gate.set()
        reader.join()
        both.join()
        assert sorted(store.calls) == [("a",), ("b",)]
        assert found[0].errors == {}

    def test_a_hundred_tasks_that_want_all_cause_one_call(self, shop, store):
        async def crowd():
            return await asyncio.gather(*(shop.aget_all_secrets() for _ in range(100)))

        assert len(asyncio.run(crowd())) == 100
        assert store.calls == [ALL]

    def test_the_last_known_values_serve_while_the_store_fails(self, shop, store, clock):
        shop.get_all_secrets()
        store.batch_failure = SecretUnavailable("batch")
        clock.pass_by(301.0)
        assert shop.get_all_secrets().database.username == "app_a"


class TestDefaults:
    def test_serve_in_development_with_a_warning_what_is_not_found(self, store, clock, caplog):
        service = SecretService(
            store,
            names=SecretNames("shop", "dev"),
            profile="development",
            defaults={"database": DATABASE, "jwt": json.dumps(JWT)},
            timing=clock.timing(),
        )
        assert service.get_database_credentials().username == "app_a"
        everything = service.get_many({"jwt": JwtSecret, "other": Login})
        assert everything["jwt"].issuer == "shop-prod"
        assert isinstance(everything.errors["other"], SecretNotFound)
        told = [(record.levelname, record.message) for record in caplog.records if "default" in record.message]
        assert {level for level, _ in told} == {"WARNING"}
        assert len(told) == 2
        assert all("not found: " in message and "shop-dev-secret-" in message for _, message in told), told
        assert "hunter2" not in caplog.text
        service.close()
        assert store.closed == 1

    def test_a_secret_that_exists_goes_before_its_default(self, store, clock):
        store.put("db", login("real", "real"), "v1")
        service = SecretService(store, profile="development", defaults={"db": DATABASE}, timing=clock.timing())
        assert service.get("db", Login).username == "real"
        service.close()

    @pytest.mark.parametrize("error", [SecretAccessDenied, SecretUnavailable, SecretThrottled, SecretMalformed])
    def test_never_hide_another_failure(self, store, clock, error):
        store.fail("db", error("db"))
        service = SecretService(store, profile="development", defaults={"db": DATABASE}, timing=clock.timing())
        with pytest.raises(error):
            service.get("db", Login)
        service.close()

    @pytest.mark.parametrize("defaults", [{"db": DATABASE}, {}])
    def test_are_refused_in_production(self, store, defaults):
        with pytest.raises(CredentialError, match="development"):
            SecretService(store, defaults=defaults)

    def test_stand_for_the_current_version_only(self, store, clock):
        service = SecretService(store, profile="development", defaults={"db": DATABASE}, timing=clock.timing())
        with service.use("db", Login, budget=0.0, allow_pending=True) as offer:
            with pytest.raises(LoginRefused):
                offer.refused()
            assert offer.version == "default"
        service.close()

    def test_an_unknown_profile_is_refused(self, store):
        with pytest.raises(CredentialError, match="production"):
            SecretService(store, profile="Development")


def test_nothing_of_the_service_is_pickled_or_shown(shop):
    shop.get_all_secrets()
    things = [shop, shop.get_all_secrets(), shop.get_many(["database"]), shop.get_version("database")]
    for thing in things:
        assert "hunter2" not in repr(thing)
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(thing)


def test_the_example_of_a_source_follows_a_rotation():
    source = SecretsInMemory({"db": login("one")})
    source.put("db", login("two"), stage="AWSPENDING")
    assert source.fetch("db", stage="AWSPENDING").version == "v2"
    source.promote("db")
    assert (source.fetch("db").version, source.fetch("db", stage="AWSPREVIOUS").version) == ("v2", "v1")
    source.remove("db")
    assert isinstance(source.fetch_many(["db"])["db"], SecretError)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(source)


def test_a_process_that_can_start_no_thread_says_so(service):
    def refuse(job, name):
        raise RuntimeError("can't start new thread")

    cache, _ = service.reach("db")
    cache._workers = Workers(4, slow_after=1.0, ticks=lambda: 0.0, name="none", start=refuse)
    for _ in range(2):
        with pytest.raises(SecretUnavailable, match="no thread could be started"):
            service.get("db", Login)


class Stops(BaseException):
    """What ends a thread without being an error: `SystemExit` is one."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_source_that_ends_its_thread_leaves_nobody_waiting(service, store):
    store.fail("db", Stops())
    with pytest.raises(SecretUnavailable, match="the source failed"):
        service.get("db", Login)
    store.put("a", login("one"), "v1")
    store.put("b", login("one"), "v1")
    store.batch_failure = Stops()
    assert service.get_many(["a", "b"]).errors == {}
    until_all_threads_have_ended()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_observer_that_fails_leaves_nobody_waiting(store, clock):
    class Failing:
        def metric(self, *_: object, **__: object) -> None:
            raise ZeroDivisionError

        audit = metric

    store.put("a", login("one"), "v1")
    store.put("b", login("one"), "v1")
    service = SecretService(store, observer=Failing(), timing=clock.timing())
    assert service.get_many(["a", "b"]).errors == {}
    service.invalidate("a")
    assert service.get("a", Login).username == "app_a"
    until_all_threads_have_ended()
