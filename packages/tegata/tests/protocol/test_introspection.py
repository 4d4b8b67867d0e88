"""Introspection answers: what a resource server is told (RFC 7662 §2.2)."""

from __future__ import annotations

from typing import Any

import pytest

from tegata.protocol import introspection

ACCESS: dict[str, Any] = {
    "issuer": "https://id.example/t",
    "subject": "anna",
    "client_id": "web",
    "audience": ("api",),
    "scopes": ("openid", "read"),
    "jti": "j",
    "issued_at": 100,
    "expires_at": 200,
    "username": "anna@example.com",
    "extra": {"roles": ["admin"]},
}


def test_an_inactive_token_tells_nothing_else() -> None:
    assert introspection.INACTIVE == {"active": False}


def test_an_access_token_tells_what_stands_in_it() -> None:
    assert introspection.access_token_answer(**ACCESS) == {
        "active": True,
        "iss": "https://id.example/t",
        "sub": "anna",
        "aud": "api",
        "client_id": "web",
        "scope": "openid read",
        "jti": "j",
        "iat": 100,
        "exp": 200,
        "token_type": "Bearer",
        "username": "anna@example.com",
        "roles": ["admin"],
    }


def test_several_audiences_are_a_list_and_a_service_has_no_username() -> None:
    answer = introspection.access_token_answer(**{**ACCESS, "audience": ("a", "b"), "username": None})
    assert answer["aud"] == ["a", "b"]
    assert "username" not in answer


@pytest.mark.parametrize(
    "name", ["active", "iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp", "token_type"]
)
def test_a_mapped_claim_never_replaces_one_of_the_protocol(name: str) -> None:
    answer = introspection.access_token_answer(**{**ACCESS, "extra": {name: "forged"}})
    assert answer[name] == introspection.access_token_answer(**ACCESS)[name]


def test_a_refresh_token_is_not_told_to_be_a_bearer_token() -> None:
    answer = introspection.refresh_token_answer(
        issuer="i", subject="s", client_id="c", scopes=("a", "b"), issued_at=1, expires_at=2, username="u"
    )
    assert answer["active"] is True
    assert answer["token_type"] != "Bearer"
    assert (answer["scope"], answer["iat"], answer["exp"]) == ("a b", 1, 2)
