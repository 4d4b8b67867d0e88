"""RDS tokens: signed for the real endpoint, from the credentials of the moment, without the network."""

from __future__ import annotations

import json
import time
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from tegata_credentials import CredentialError, IdentityUnavailable, SyncTokenSource, Token, TokenSource
from tegata_credentials.aws import RdsIamTokens, SyncRdsIamTokens

pytestmark = pytest.mark.anyio

WRITER = "db.cluster-abc.ap-northeast-1.rds.amazonaws.com"
READER = "db.cluster-ro-abc.ap-northeast-1.rds.amazonaws.com"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-key")


def read(value: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(f"https://{value}")
    return parts.netloc, {name: values[0] for name, values in parse_qs(parts.query).items()}


def test_a_token_names_the_endpoint_the_user_and_the_region(keys):
    fetched = SyncRdsIamTokens(host=WRITER, port=5433, user="app").fetch()
    place, query = read(fetched.value)
    assert place == f"{WRITER}:5433"
    assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == ("connect", "app", "900")
    assert query["X-Amz-Credential"].split("/")[2:4] == ["ap-northeast-1", "rds-db"]
    assert "secret-key" not in fetched.value


def test_it_is_renewed_after_ten_minutes_of_its_fifteen(keys):
    now = time.time()
    seconds = [0.0]

    class Counted(SyncRdsIamTokens):
        fetches = 0

        def fetch(self) -> Token:
            self.fetches += 1
            return super().fetch()

    tokens = Counted(host=WRITER, user="app", clock=lambda: now + seconds[0])
    source = SyncTokenSource(tokens, auth_method="aws_iam", clock=lambda: now + seconds[0], ticks=lambda: seconds[0])
    source.current()
    seconds[0] = 599.0
    source.current()
    assert tokens.fetches == 1
    seconds[0] = 601.0
    source.current()
    assert tokens.fetches == 2


def test_writer_and_reader_have_a_token_each(keys):
    tokens = [SyncRdsIamTokens(host=host, user="app").fetch().value for host in (WRITER, READER)]
    assert [read(value)[0] for value in tokens] == [f"{WRITER}:5432", f"{READER}:5432"]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("db.abc.eu-west-1.rds.amazonaws.com", "eu-west-1"),
        ("DB.ABC.EU-WEST-1.RDS.AMAZONAWS.COM", "eu-west-1"),
        ("db.cluster-custom-abc.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
        ("p.proxy-abc.ap-southeast-2.rds.amazonaws.com", "ap-southeast-2"),
        ("db.abc.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("db.abc.cn-north-1.rds.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_the_region_is_read_from_the_name(keys, host, region):
    fetched = SyncRdsIamTokens(host=host, user="app").fetch()
    assert read(fetched.value)[1]["X-Amz-Credential"].split("/")[2] == region


@pytest.mark.parametrize(
    "host", ["db.example.com", "10.0.0.1", "db.abc.eu-west-1.rds.amazonaws.com.evil.example", "rds.amazonaws.com"]
)
def test_a_name_of_your_own_needs_the_real_one_beside_it(host):
    with pytest.raises(CredentialError, match="sign_for_host"):
        SyncRdsIamTokens(host=host, user="app", region="eu-west-1")


def test_the_token_is_signed_for_the_real_name(keys):
    tokens = SyncRdsIamTokens(host="db.example.com", sign_for_host=WRITER, user="app")
    assert read(tokens.fetch().value)[0] == f"{WRITER}:5432"


def test_a_region_that_is_not_visible_must_be_given(keys):
    with pytest.raises(CredentialError, match="region"):
        SyncRdsIamTokens(host="x", sign_for_host="db.example.com", user="app")
    tokens = SyncRdsIamTokens(host="x", sign_for_host="db.example.com", user="app", region="eu-west-1")
    assert read(tokens.fetch().value)[0] == "db.example.com:5432"


def test_without_credentials_it_is_not_configured():
    with pytest.raises(IdentityUnavailable) as caught:
        SyncRdsIamTokens(host=WRITER, user="app").fetch()
    assert caught.value.reason == "not_configured"
    assert caught.value.__context__ is None


def test_after_a_failure_new_credentials_are_found(monkeypatch):
    tokens = SyncRdsIamTokens(host=WRITER, user="app")
    with pytest.raises(IdentityUnavailable):
        tokens.fetch()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-key")
    assert tokens.fetch().value


def test_a_rejection_looks_for_credentials_again(monkeypatch, keys):
    source = SyncTokenSource(SyncRdsIamTokens(host=WRITER, user="app"), auth_method="aws_iam")
    first = source.current()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDROTATED")
    source.rejected(first)
    assert "AKIDROTATED" in source.current()


def test_a_session_of_your_own_is_used():
    session = boto3.Session(aws_access_key_id="AKIDMINE", aws_secret_access_key="x")
    assert "AKIDMINE" in SyncRdsIamTokens(host=WRITER, user="app", session=session).fetch().value


def test_credentials_of_a_container_that_cannot_be_had_are_refused(monkeypatch, endpoint):
    endpoint.answer = lambda number: (403, json.dumps({"message": "geheim"}).encode())
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/creds")
    with pytest.raises(IdentityUnavailable) as caught:
        SyncRdsIamTokens(host=WRITER, user="app").fetch()
    assert caught.value.reason == "refused"
    assert "geheim" not in str(caught.value)


def test_credentials_of_a_container_sign_with_their_session_token(monkeypatch, endpoint):
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    answer = {"AccessKeyId": "ASIATASK", "SecretAccessKey": "s", "Token": "session", "Expiration": ends}
    endpoint.answer = lambda number: (200, json.dumps(answer).encode())
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint.url}/creds")
    query = read(SyncRdsIamTokens(host=WRITER, user="app").fetch().value)[1]
    assert query["X-Amz-Security-Token"] == "session"


async def test_asyncio_has_the_same(keys):
    source = TokenSource(RdsIamTokens(host=WRITER, user="app"), auth_method="aws_iam")
    assert read(await source.current())[0] == f"{WRITER}:5432"
    await source.close()


def test_a_provider_shows_no_secret(keys):
    tokens = SyncRdsIamTokens(host=WRITER, user="app")
    fetched = tokens.fetch()
    shown = repr(tokens) + repr(vars(tokens)) + repr(fetched) + repr(RdsIamTokens(host=WRITER, user="app"))
    assert "X-Amz-Signature" not in shown
    assert "secret-key" not in shown
