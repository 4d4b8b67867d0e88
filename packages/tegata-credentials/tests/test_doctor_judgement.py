"""What a token says of itself, what a refused login means, and how both are shown."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata_credentials.doctor import REASONS, Check, Report
from tegata_credentials.doctor.login import Inside, Refusal, judge_clock, judge_inside, judge_refusal
from tegata_credentials.doctor.presented import (
    RdsToken,
    judge_claims,
    judge_rds_token,
    read_claims,
    read_rds_token,
    show_claims,
)
from tegata_credentials.doctor.report import failed
from tegata_credentials.settings import Auth, DatabaseSettings

NOW = 1_800_000_000.0
AUDIENCE = "https://ossrdbms-aad.database.windows.net"
HOST = "shop.abcdefghijkl.eu-west-1.rds.amazonaws.com"


def settings(auth: Auth = "aws_iam", **changes: Any) -> DatabaseSettings:
    return DatabaseSettings(**{"host": HOST, "port": 5432, "user": "app", "database": "shop", "auth": auth, **changes})


def jwt(payload: bytes) -> str:
    return ".".join(("e30", base64.urlsafe_b64encode(payload).rstrip(b"=").decode(), "c2ln"))


def reasons(checks: list[Check]) -> list[str]:
    return [check.reason for check in checks if check.reason]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": AUDIENCE, "exp": NOW + 60}, []),
        ({"aud": f"{AUDIENCE}/", "exp": NOW + 60}, []),
        ({"aud": "123cd850-d9df-40bd-94d5-c9f07b7fa203", "exp": NOW + 60}, []),
        ({"aud": "https://ossrdbms-aad.database.usgovcloudapi.net", "exp": NOW + 60}, []),
        ({"aud": f"{AUDIENCE}.evil.example", "exp": NOW + 60}, ["token_wrong_audience"]),
        ({"aud": "https://management.azure.com/", "exp": NOW + 60}, ["token_wrong_audience"]),
        ({"aud": [AUDIENCE], "exp": NOW + 60}, ["token_wrong_audience"]),
        ({"exp": NOW - 1}, ["token_wrong_audience", "token_expired"]),
        ({"aud": AUDIENCE, "exp": NOW}, ["token_expired"]),
        ({"aud": AUDIENCE, "exp": NOW + 3600, "nbf": NOW + 60}, ["token_too_early"]),
        ({"aud": AUDIENCE, "exp": NOW + 3600, "nbf": NOW + 2}, []),
        ({"aud": AUDIENCE}, []),
        ({"aud": AUDIENCE, "exp": "soon", "nbf": True}, []),
        ({"aud": AUDIENCE, "exp": float("inf"), "nbf": float("nan")}, []),
    ],
)
def test_an_entra_token_is_judged_by_audience_and_time(claims, expected):
    read = read_claims(jwt(json.dumps(claims).encode()))
    assert read is not None
    assert reasons(judge_claims(read, now=NOW)) == expected


@given(st.binary(max_size=60), st.text(max_size=60))
def test_nothing_that_comes_in_the_place_of_a_token_ends_the_examination(payload, text):
    for token in (jwt(payload), text, f"{text}.{text}.{text}"):
        claims = read_claims(token)
        if claims is not None:
            judge_claims(claims, now=NOW)
            show_claims(claims)
        read_rds_token(token)
        read_rds_token(f"{HOST}:5432/?{token}")


def test_only_named_claims_of_a_harmless_size_are_shown():
    claims = {"aud": AUDIENCE, "oid": "o", "tid": "t", "exp": 1, "name": "A Person", "appid": "x" * 101, "azp": ["y"]}
    assert show_claims(claims) == {"aud": AUDIENCE, "exp": 1, "oid": "o", "tid": "t"}


GOOD = RdsToken(HOST, 5432, "app", "eu-west-1", NOW - 10, NOW + 890)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"user": "other"}, ["token_wrong_user"]),
        ({"host": "other.example"}, ["token_wrong_host"]),
        ({"port": 5433}, ["token_wrong_host"]),
        ({"region": "us-east-1"}, ["token_wrong_region"]),
        ({"ends_at": NOW}, ["token_expired"]),
        ({"begins_at": NOW + 60}, ["token_too_early"]),
    ],
)
def test_an_rds_token_is_judged_by_what_it_was_signed_for(change, expected):
    values = {name: getattr(GOOD, name) for name in RdsToken.__slots__}
    assert reasons(judge_rds_token(RdsToken(**{**values, **change}), settings(), now=NOW)) == expected


def test_an_rds_token_signed_by_botocore_is_read(clean_environment, lab):
    from tegata_credentials.aws import SyncRdsIamTokens

    for name, value in lab.aws().items():
        clean_environment.setenv(name, value)
    token = SyncRdsIamTokens(host=HOST, port=5433, user="my app+1").fetch()
    read = read_rds_token(token.value)
    assert read is not None
    assert (read.host, read.port, read.user, read.region) == (HOST, 5433, "my app+1", "eu-west-1")
    assert read.ends_at - read.begins_at == 900
    assert lab.leaks_in(repr(read)) == []


@pytest.mark.parametrize(
    ("auth", "sqlstate", "hint", "expected"),
    [
        ("managed_identity", "28P01", "none", "role_not_mapped"),
        ("managed_identity", "28000", "none", "role_not_mapped"),
        ("aws_iam", "28P01", "none", "role_lacks_rds_iam"),
        ("aws_iam", "28000", "pam", "iam_refused"),
        ("password", "28P01", "none", "password_refused"),
        ("password", "28000", "no rule", "no_login_rule"),
        ("managed_identity", "28000", "no rule", "no_login_rule"),
        ("aws_iam", "28000", "no login", "role_cannot_log_in"),
        ("aws_iam", "3D000", "none", "database_missing"),
        ("aws_iam", "42501", "none", "database_forbidden"),
        ("aws_iam", "53300", "none", "connections_exhausted"),
        ("aws_iam", "57P03", "none", "server_not_ready"),
        ("aws_iam", "XX000", "none", "login_failed"),
        ("aws_iam", "ConnectionResetError", "none", "login_failed"),
        ("aws_iam", "timeout", "none", "login_silent"),
    ],
)
def test_a_refused_login_is_explained_by_method_and_sqlstate(auth, sqlstate, hint, expected):
    assert judge_refusal(Refusal(sqlstate, hint), settings(auth), object_id=None).reason == expected


def test_a_role_whose_name_no_sql_can_be_written_for_is_explained_without_sql():
    oid = "0f4c1d8a-3f0e-4f8a-9d0a-6a3f0b7d5e21"
    found = judge_refusal(Refusal("28P01"), settings("managed_identity", user="x\x1b[2J"), object_id=oid)
    assert (found.reason, found.sql) == ("role_not_mapped", None)
    assert judge_refusal(Refusal("28P01"), settings("aws_iam", user="pg_x"), object_id=None).sql is None


def test_a_login_that_worked_is_judged_too():
    inside = Inside("app", False, False, False, 0.0)
    assert reasons(judge_inside(inside, must_be_encrypted=True)) == ["connection_readable"]
    mighty = Inside("app", False, True, True, 0.0)
    assert reasons(judge_inside(mighty, must_be_encrypted=True)) == ["role_too_powerful"]
    assert reasons(judge_inside(mighty, must_be_encrypted=True, is_local_password=True)) == []


@pytest.mark.parametrize(("ahead", "word"), [(29.0, None), (-29.0, None), (31.6, "slow"), (-31.6, "fast")])
def test_clocks_may_differ_a_little(ahead, word):
    found = judge_clock(ahead, "x")
    assert (found.result == "failed") == (word is not None)
    assert word is None or word in found.says


def test_what_others_wrote_cannot_steer_the_terminal():
    report = Report((Check("settings", "ok", "app\x1b[2J\n0 found"),), {"aud": "x\r\x1b]0;y\x07"})
    assert len(report.text().splitlines()) == 3
    assert "\x1b" not in report.text()
    assert "\x1b" not in report.json()


def test_every_reason_says_something_and_has_a_cure():
    assert all(words.says and words.fix for words in REASONS.values())
    with pytest.raises(KeyError):
        failed("login", "unknown_reason")
