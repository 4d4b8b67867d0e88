"""The judge of RDS tokens, against the signer of boto3, which it shares nothing with."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_credentials.testing import AccessKey, Endpoint, RdsVerifier

HOST, REGION = "shop.cluster-x.ap-northeast-1.rds.amazonaws.com", "ap-northeast-1"
WRITER = Endpoint(HOST, 5432, REGION)
# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEY = AccessKey("AKIAOFTHETESTS000000", "a/secret+with=signs")
TEMPORARY = AccessKey("ASIAOFTHETESTS000000", "another secret", "session/token+=")


class SetClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    clock = SetClock()
    clock.now = time.time()
    return clock


@pytest.fixture
def verifier(clock: SetClock) -> RdsVerifier:
    verifier = RdsVerifier(clock)
    verifier.trust(KEY)
    verifier.trust(TEMPORARY)
    return verifier


def sign(key: AccessKey = KEY, *, host: str = HOST, port: int = 5432, user: str = "app", region: str = REGION) -> str:
    session = boto3.Session(key.key_id, key.secret, key.session_token, region_name=region)
    token: str = session.client("rds").generate_db_auth_token(host, port, user, region)
    return token


def when(token: str) -> float:
    """The time that the token says it was signed at."""
    text = token.partition("X-Amz-Date=")[2][: len("20250101T000000Z")]
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


SIGNED = sign()


@pytest.mark.parametrize("key", [KEY, TEMPORARY], ids=["of a user", "temporary"])
@pytest.mark.parametrize("user", ["app", "ü ser+/=&?", "a b"])
def test_a_token_of_boto3_is_accepted(verifier: RdsVerifier, key: AccessKey, user: str) -> None:
    assert verifier.refusal(sign(key, user=user), role=user, endpoint=WRITER) is None


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param({"host": "reader.example"}, "wrong_host", id="another host"),
        pytest.param({"port": 5433}, "wrong_port", id="another port"),
        pytest.param({"user": "admin"}, "wrong_user", id="another role"),
        pytest.param({"region": "us-east-1"}, "wrong_region", id="another region"),
        pytest.param({"key": AccessKey("AKIASTRANGER", "x")}, "unknown_key", id="a stranger's key"),
        pytest.param({"key": AccessKey(KEY.key_id, "guessed")}, "bad_signature", id="a guessed secret"),
        pytest.param({"key": AccessKey(TEMPORARY.key_id, TEMPORARY.secret)}, "wrong_session", id="no session token"),
    ],
)
def test_a_token_for_something_else_is_refused(verifier: RdsVerifier, token: dict[str, object], reason: str) -> None:
    assert verifier.refusal(sign(**token), role="app", endpoint=WRITER) == reason  # type: ignore[arg-type]


def test_a_token_lives_for_fifteen_minutes(verifier: RdsVerifier, clock: SetClock) -> None:
    token = sign()
    clock.now = when(token) + 899
    assert verifier.refusal(token, role="app", endpoint=WRITER) is None
    clock.now = when(token) + 900
    assert verifier.refusal(token, role="app", endpoint=WRITER) == "expired"
    clock.now = when(token) - 400
    assert verifier.refusal(token, role="app", endpoint=WRITER) == "not_yet_valid"


def test_life_can_be_shortened_and_a_key_withdrawn(verifier: RdsVerifier, clock: SetClock) -> None:
    token = sign()
    verifier.lifetime_seconds = 5
    clock.now = when(token) + 4
    assert verifier.refusal(token, role="app", endpoint=WRITER) is None
    clock.now = when(token) + 5
    assert verifier.refusal(token, role="app", endpoint=WRITER) == "expired"
    verifier.distrust(KEY)
    assert verifier.refusal(token, role="app", endpoint=WRITER) == "unknown_key"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Expires=900", "X-Amz-Expires=901"),
        ("DBUser=app", "DBUser=root"),
        ("Action=connect", "Action=drop"),
        (HOST, "reader.example"),
        ("/rds-db/", "/s3/"),
        ("%2Frds-db%2F", "%2Fs3%2F"),
    ],
)
def test_a_changed_token_has_a_bad_signature(verifier: RdsVerifier, old: str, new: str) -> None:
    token = sign()
    changed = token.replace(old, new)
    if changed != token:
        assert verifier.refusal(changed, role="root", endpoint=WRITER) == "bad_signature"


@relaxed
@given(st.text(max_size=80))
def test_any_text_is_refused_without_an_exception(text: str) -> None:
    assert RdsVerifier(time.time).refusal(text, role="app", endpoint=WRITER) is not None


@relaxed
@given(st.data())
def test_a_token_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    verifier = RdsVerifier(time.time)
    verifier.trust(KEY)
    token = SIGNED
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("a0Z%&=+/?").filter(lambda letter: letter.lower() != token[place].lower()))
    changed = token[:place] + letter + token[place + 1 :]
    assert verifier.refusal(changed, role="app", endpoint=WRITER) is not None
