"""The shapes of secrets: what is read, what is refused and how little is said about it, and that nothing is shown."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, field_validator

from tegata_credentials.errors import SecretMalformed, SecretUnavailable
from tegata_credentials.secret_service import (
    DatabaseCredentials,
    ExternalApiCredentials,
    JwtSecret,
    Login,
    SecretModel,
    SigningKey,
)
from tegata_credentials.secret_service.parsing import parse
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

HIDDEN = "hunter2-hunter2"
DATABASE = {
    "username": "goal_mandala_user",
    "password": HIDDEN,
    "engine": "postgres",
    "host": "aurora-cluster-endpoint",
    "port": 5432,
    "dbname": "goal_mandala",
    "dbClusterIdentifier": "goal-mandala-dev-cluster",
}
EC = {"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ"}
SINCE = "2026-11-21T00:00:00Z"


def key(kid: str, state: str, **jwk: str) -> dict[str, object]:
    private = {} if state == "previous" else {"d": HIDDEN}
    return {"kid": kid, "state": state, "since": SINCE, "jwk": {**EC, **private, **jwk}}


RING = {
    "algorithm": "ES256",
    "issuer": "https://id.example.com",
    "expiresIn": "24h",
    "keys": [key("k1", "previous"), key("k2", "active"), key("k3", "next")],
}


def read(value: object, model: type[BaseModel]) -> BaseModel:
    return parse(SecretVersion("db", "v1", HiddenText(json.dumps(value))), model)


def problem(value: object, model: type[BaseModel]) -> str:
    with pytest.raises(SecretMalformed) as caught:
        read(value, model)
    assert HIDDEN not in str(caught.value)
    return caught.value.hint


def test_the_database_secret_of_the_design_is_read():
    found = read(DATABASE, DatabaseCredentials)
    assert (found.username, found.host, found.port, found.dbname) == (
        "goal_mandala_user",
        "aurora-cluster-endpoint",
        5432,
        "goal_mandala",
    )
    assert found.password.get_secret_value() == HIDDEN
    assert found.db_cluster_identifier == "goal-mandala-dev-cluster"


def test_what_rotation_and_the_replica_need_is_read_by_its_own_name():
    more = {
        "masterarn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin",
        "readerHost": "reader",
        "readerPort": "5433",
    }
    found = read(DATABASE | more, DatabaseCredentials)
    assert (found.master_arn[-5:], found.reader_host, found.reader_port) == ("admin", "reader", 5433)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": None}, "password: string_type"),
        ({"password": ""}, "password: too_short"),
        ({"port": HIDDEN}, "port: int_parsing"),
        ({"port": 70_000}, "port: less_than_equal"),
        ({"engine": HIDDEN}, "engine: literal_error"),
        ({"host": [HIDDEN]}, "host: string_type"),
        ({"host": "", "dbname": ""}, "host: string_too_short, dbname: string_too_short"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(change, said):
    assert problem(DATABASE | change, DatabaseCredentials) == said


def test_missing_fields_are_named():
    assert problem({}, Login) == "username: missing, password: missing"


@pytest.mark.parametrize("value", [[HIDDEN], HIDDEN, None, 1])
def test_what_is_no_object_is_told_so(value):
    assert problem(value, Login) == "is not a JSON object"


def test_keys_that_come_from_the_secret_are_not_repeated():
    class Tokens(SecretModel):
        by_user: dict[str, int]

    assert problem({"by_user": {HIDDEN: HIDDEN}}, Tokens) == "by_user.*: int_parsing"


def test_the_words_of_a_validator_are_not_repeated():
    class Talkative(BaseModel):
        token: str
        kind: Literal["a", "b"] = "a"

        @field_validator("token")
        @classmethod
        def check(cls, value: str) -> str:
            raise ValueError(f"{value} is not good")

    assert problem({"token": HIDDEN, "kind": HIDDEN}, Talkative) == "token: value_error, kind: literal_error"


def test_a_validator_that_breaks_is_told_by_kind():
    class Broken(BaseModel):
        token: str

        @field_validator("token")
        @classmethod
        def check(cls, value: str) -> str:
            raise ZeroDivisionError(value)

    assert problem({"token": HIDDEN}, Broken) == "its model failed: ZeroDivisionError"


def test_fields_of_inner_models_are_named_by_either_name():
    class Inner(BaseModel):
        port: int = Field(alias="thePort")

    class Outer(BaseModel):
        inner: Inner | None
        more: list[Inner] = []

    assert (
        problem({"inner": {"thePort": HIDDEN}, "more": [{}]}, Outer)
        == "inner.thePort: int_parsing, more.0.thePort: missing"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(HIDDEN) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([HIDDEN, *DATABASE, "keys"]), inner),
    max_leaves=8,
)


def shown_by(error: BaseException) -> str:
    """What an error report shows: the text, and the local variables of our own frames."""
    frames = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if "secret_service/test" not in frame.f_code.co_filename
    ]
    assert frames
    return f"{error} {[repr(value) for frame in frames for value in frame.f_locals.values()]}"


@given(json_values, st.sampled_from([Login, DatabaseCredentials, JwtSecret, ExternalApiCredentials]))
def test_no_error_repeats_anything_of_the_value(value, model):
    error = None
    try:
        read(value, model)
    except SecretMalformed as raised:
        error = raised
    assert error is None or HIDDEN not in shown_by(error)
    assert error is None or (error.__cause__ is None and error.__context__ is None)


def test_no_frame_of_a_traceback_holds_the_value():
    with pytest.raises(SecretMalformed) as caught:
        read(DATABASE | {"port": "x"}, DatabaseCredentials)
    assert HIDDEN not in shown_by(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


class TestNothingIsShown:
    def test_in_repr_str_or_json(self):
        for model, value in ((DatabaseCredentials, DATABASE | {"note": HIDDEN}), (JwtSecret, RING)):
            found = read(value, model)
            assert HIDDEN not in f"{found!r} {found} {found.model_dump()} {found.model_dump_json()}"

    def test_when_a_model_is_used_by_itself(self):
        with pytest.raises(ValidationError) as caught:
            DatabaseCredentials.model_validate(DATABASE | {"password": {"x": HIDDEN}, "port": HIDDEN})
        assert HIDDEN not in f"{caught.value} {caught.value!r}"

    def test_by_pickling(self):
        for found in (read(DATABASE, DatabaseCredentials), read(RING, JwtSecret)):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(found)
            assert copy.deepcopy(found) == found

    def test_and_nothing_is_changed(self):
        found = read(DATABASE, DatabaseCredentials)
        with pytest.raises(ValidationError):
            found.host = "elsewhere"


def test_further_keys_are_kept_and_hidden():
    found = read(DATABASE | {"apiKey": HIDDEN}, DatabaseCredentials)
    assert found.model_extra["apiKey"].get_secret_value() == HIDDEN
    assert HIDDEN not in repr(found)


class TestSigningKeys:
    def test_the_active_key_signs_and_all_public_halves_are_published(self):
        ring = read(RING, JwtSecret)
        assert ring.active.kid == "k2"
        assert ring.active.private_jwk() == EC | {"d": HIDDEN, "kid": "k2"}
        published = ring.jwks()["keys"]
        assert [jwk["kid"] for jwk in published] == ["k1", "k2", "k3"]
        assert published[0] == EC | {"kid": "k1", "use": "sig", "alg": "ES256"}

    @pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "secret", "anything"])
    def test_no_private_member_is_published_whatever_it_is_called(self, member):
        ring = RING | {"keys": [key("k1", "active", **{member: HIDDEN})]}
        assert HIDDEN not in json.dumps(read(ring, JwtSecret).jwks())

    @pytest.mark.parametrize(
        "jwk",
        [
            {"kty": "RSA", "n": "bg", "e": "AQAB", "d": HIDDEN},
            {"kty": "OKP", "crv": "Ed25519", "x": "eA", "d": HIDDEN},
        ],
    )
    def test_other_types_of_key_pairs_are_read(self, jwk):
        found = read({"kid": "k1", "state": "active", "since": SINCE, "jwk": jwk}, SigningKey)
        assert found.public_jwk() == {name: jwk[name] for name in jwk if name != "d"} | {"kid": "k1", "use": "sig"}

    def test_a_copy_that_somebody_changes_changes_nothing(self):
        ring = read(RING, JwtSecret)
        ring.active.private_jwk()["d"] = "changed"
        assert ring.active.private_jwk()["d"] == HIDDEN

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"keys": []}, "value: either_keys_or_secret"),
            ({"keys": [key("k1", "next")]}, "value: not_one_active_key"),
            ({"keys": [key("k1", "active"), key("k2", "active")]}, "value: not_one_active_key"),
            ({"keys": [key("k1", "active"), key("k1", "next")]}, "value: kid_twice"),
            ({"secret": HIDDEN}, "value: either_keys_or_secret"),
            ({"algorithm": "HS256"}, "value: algorithm_of_another_kind"),
            ({"keys": [key("k1", "active", kty="oct", k=HIDDEN)]}, "keys.0: not_a_key_pair"),
            ({"keys": [key("k1", "active", x=5)]}, "keys.0: public_part_incomplete"),
            ({"keys": [key("k1", "active", d=None)]}, "keys.0: private_part_missing"),
            ({"keys": [key("k1", HIDDEN)]}, "keys.0.state: literal_error"),
            ({"keys": [key("k1", "active") | {"since": "2026-11-21T00:00:00"}]}, "keys.0.since: timezone_aware"),
        ],
    )
    def test_a_ring_that_cannot_sign_safely_is_refused(self, change, said):
        assert problem(RING | change, JwtSecret) == said

    def test_the_shared_secret_of_the_older_design_is_read_and_never_published(self):
        older = read(
            {"secret": HIDDEN, "algorithm": "HS256", "issuer": "goal-mandala-dev", "expiresIn": "24h"}, JwtSecret
        )
        assert older.is_shared
        assert older.secret.get_secret_value() == HIDDEN
        assert older.jwks() == {"keys": []}
        with pytest.raises(LookupError):
            _ = older.active


def test_further_providers_are_kept_and_hidden():
    found = read({"payments": {"apiKey": HIDDEN}}, ExternalApiCredentials)
    assert found.provider("payments").get_secret_value() == {"apiKey": HIDDEN}
    assert HIDDEN not in f"{found!r} {found.model_dump_json()}"
    assert (found.ses, found.bedrock) == (None, None)
    with pytest.raises(KeyError):
        found.provider("none")


def test_a_model_that_shows_what_it_holds_is_in_no_frame_either(service, store, clock):
    class Plain(BaseModel):
        password: str

    store.put("db", {"password": HIDDEN}, "v1")
    assert service.get("db", Plain).password == HIDDEN
    store.fail("db", SecretUnavailable("db"))
    service.invalidate("db")
    with pytest.raises(SecretUnavailable) as caught:
        service.get("db", Plain)
    assert HIDDEN not in shown_by(caught.value)
