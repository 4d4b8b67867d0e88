"""Access tokens: the claims of RFC 9068 §2.2, and a `jti` that leads back to its grant."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.crypto.digests import new_identifier
from tegata.identifiers import GrantId
from tegata.protocol.tokens import access_token

VALUES: dict[str, Any] = {
    "issuer": "https://id.example/t",
    "subject": "anna",
    "client_id": "web",
    "audience": ("https://api.example/",),
    "scopes": ("openid", "read"),
    "jti": "j",
    "issued_at": 100,
    "lifetime_seconds": 60,
    "authentication": {"auth_time": 90, "acr": "a", "amr": ["pwd"]},
    "mapped": {"roles": ["admin"]},
}


def test_the_claims_are_those_of_rfc_9068() -> None:
    assert access_token.build_claims(**VALUES) == {
        "iss": "https://id.example/t",
        "sub": "anna",
        "aud": "https://api.example/",
        "client_id": "web",
        "scope": "openid read",
        "jti": "j",
        "iat": 100,
        "exp": 160,
        "auth_time": 90,
        "acr": "a",
        "amr": ["pwd"],
        "roles": ["admin"],
    }
    assert access_token.TYPE == "at+jwt"


def test_several_audiences_are_a_list() -> None:
    """RFC 7519 §4.1.3."""
    assert access_token.build_claims(**{**VALUES, "audience": ("a", "b")})["aud"] == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp", "auth_time", "acr", "amr"]
)
def test_a_mapped_claim_never_replaces_one_of_the_protocol(name: str) -> None:
    assert access_token.build_claims(**{**VALUES, "mapped": {name: "forged"}})[name] != "forged"


@given(st.uuids())
def test_a_token_id_leads_back_to_its_grant(grant: UUID) -> None:
    first, second = (access_token.token_id(new_identifier(), GrantId(grant)) for _ in range(2))
    assert access_token.grant_of(first) == access_token.grant_of(second) == grant
    assert first != second


def test_the_token_id_of_a_service_has_no_grant() -> None:
    assert access_token.grant_of(access_token.token_id(new_identifier(), None)) is None


@given(st.text() | st.builds("{}.x".format, st.text(min_size=22, max_size=22)))
@example("." * 30)
@example("!" * 22 + ".x")
@example("A" * 22 + ".x")
@example("\u00e9" * 22 + ".x")
@example("=" * 22 + ".x")
def test_any_text_has_a_grant_or_none(jti: str) -> None:
    found = access_token.grant_of(jti)
    assert found is None or isinstance(found, UUID)
