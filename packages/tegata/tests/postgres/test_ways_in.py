"""Database URLs are refused with the setting's name and the cure, and never repeated."""

from __future__ import annotations

import pytest

from tegata.postgres.ways_in import WayRules

PASSWORD, TOKEN = WayRules(), WayRules("managed_identity")
NAME = "TEGATA_SOME_DATABASE_URL"
REMOTE = "postgresql://app@db.example.com/tegata"


@pytest.mark.parametrize("rules", [PASSWORD, TOKEN], ids=["password", "token"])
@pytest.mark.parametrize(
    "query",
    ["?sslmode=disable", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca", "?sslmode=allow"],
)
def test_anything_weaker_than_verified_tls_to_another_machine_is_refused(rules: WayRules, query: str) -> None:
    problem = rules.problem(NAME, REMOTE + query)
    assert problem is not None
    assert problem.startswith(NAME)
    assert "sslmode=verify-full" in problem


@pytest.mark.parametrize("rules", [PASSWORD, TOKEN], ids=["password", "token"])
@pytest.mark.parametrize(
    "url",
    [
        REMOTE + "?sslmode=verify-full",
        "postgresql://app@/tegata?host=/run/postgresql",
        "postgresql://app@127.0.0.1/tegata",
        "postgresql://app@localhost/tegata?sslmode=disable",
    ],
)
def test_verified_tls_and_this_machine_are_taken(rules: WayRules, url: str) -> None:
    assert rules.problem(NAME, url) is None


def test_verified_tls_need_not_be_asked_for_with_tokens_because_it_is_the_default() -> None:
    assert TOKEN.problem(NAME, REMOTE) is None
    assert PASSWORD.problem(NAME, REMOTE) is not None


def test_a_password_beside_tokens_is_refused_and_not_repeated() -> None:
    problem = TOKEN.problem(NAME, "postgresql://app:hush@db.example.com/tegata?sslmode=verify-full")
    assert problem is not None
    assert "holds a password" in problem
    assert "hush" not in problem


def test_an_administrators_password_is_meant_and_needs_verified_tls_all_the_same() -> None:
    url = "postgresql://admin:hush@db.example.com/postgres"
    assert TOKEN.problem(NAME, url + "?sslmode=verify-full", may_hold_password=True) is None
    assert TOKEN.problem(NAME, url, may_hold_password=True) is not None


def test_an_operator_may_say_that_the_network_is_theirs() -> None:
    assert WayRules("aws_iam", allow_unverified_tls=True).problem(NAME, REMOTE + "?sslmode=require") is None


def test_what_is_no_url_is_refused_by_name() -> None:
    problem = PASSWORD.problem(NAME, "postgresql://app:hush@[")
    assert problem is not None
    assert problem.startswith(NAME)
    assert "hush" not in problem
