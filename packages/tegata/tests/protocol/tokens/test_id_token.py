"""ID tokens: the claims of OIDC Core §2, bound to the access token they come with (§3.1.3.6)."""

from __future__ import annotations

from typing import Any

import pytest

from tegata.protocol.tokens import access_token, id_token

VALUES: dict[str, Any] = {
    "issuer": "https://id.example/t",
    "subject": "anna",
    "client_id": "web",
    "issued_at": 100,
    "lifetime_seconds": 60,
    "auth_time": 90,
    "acr": "a",
    "amr": ("pwd",),
    "session_id": "s",
    "nonce": "n",
    # OIDC Core §A.3.
    "access_token": "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
    "personal": {"name": "Anna"},
}


def test_the_claims() -> None:
    assert id_token.build_claims(**VALUES) == {
        "iss": "https://id.example/t",
        "sub": "anna",
        "aud": "web",
        "iat": 100,
        "exp": 160,
        "auth_time": 90,
        "acr": "a",
        "amr": ["pwd"],
        "at_hash": "77QmUPtjPfzWtF2AnpK9RQ",
        "nonce": "n",
        "sid": "s",
        "name": "Anna",
    }


def test_without_a_nonce_there_is_no_claim_for_it() -> None:
    claims = id_token.build_claims(**{**VALUES, "nonce": None, "session_id": None})
    assert not {"nonce", "sid"} & set(claims)


@pytest.mark.parametrize(
    "name", ["iss", "sub", "aud", "iat", "exp", "auth_time", "acr", "amr", "at_hash", "nonce", "sid"]
)
def test_a_persons_claim_never_replaces_one_of_the_protocol(name: str) -> None:
    assert id_token.build_claims(**{**VALUES, "personal": {name: "forged"}})[name] != "forged"


def test_its_type_is_not_that_of_an_access_token() -> None:
    """RFC 8725 §3.11."""
    assert access_token.TYPE != id_token.TYPE
