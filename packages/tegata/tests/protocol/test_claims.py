"""Claims: what the `claims` parameter may say, and what is told about a person (OIDC Core §5)."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.identifiers import UserId
from tegata.identity.account import User
from tegata.protocol import claims
from tegata.protocol.claims import RESERVED_CLAIMS, SCOPE_CLAIMS, ClaimsRequest
from tegata.protocol.errors import OAuthError
from tegata.protocol.policy import TenantPolicy

from .outcome import outcome_of

POLICY = TenantPolicy()
PERSONAL = {
    "name": "山田 太郎",
    "email": "taro@example.com",
    "email_verified": True,
    "phone_number": "+81 3 0000 0000",
    "address": {"country": "JP"},
    "department": "research",
    "sub": "somebody else",
    "iss": "https://evil.example",
}
TARO = User(UserId(UUID(int=1)), "taro", PERSONAL, roles=("researcher",), updated_at=12.7)
NOBODY = ClaimsRequest()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
members = st.dictionaries(
    st.sampled_from(["userinfo", "id_token", "other"]), json_values | st.dictionaries(st.text(), json_values)
)


def asking(member: str = "id_token", **wanted: Any) -> ClaimsRequest:
    return claims.parse(json.dumps({member: wanted}))


def check_is_sound(text: str) -> None:
    """Either refused, or a value that any JSON store keeps and gives back."""
    request = outcome_of(lambda: claims.parse(text))
    if not isinstance(request, ClaimsRequest):
        assert (request.code, request.reason) == ("invalid_request", "claims_malformed")
        return
    stored = json.dumps(request.document(), allow_nan=False, ensure_ascii=False)
    stored.encode("utf-8")
    assert "\\u0000" not in stored
    again = ClaimsRequest.from_document(json.loads(stored))
    assert again.document() == request.document()
    request.requested_subject(), request.essential_acr(), request.personal_names()
    claims.for_userinfo(TARO, ["openid"], request, POLICY)
    claims.for_id_token(TARO, request, POLICY)


@given(st.text())
@example("[" * 5000)
@example('{"userinfo":' * 900)
@example("9" * 5000)
def test_any_text_is_refused_or_understood(text: str) -> None:
    check_is_sound(text)


@given(members)
@example({"id_token": {"acr": {"essential": True, "values": [None, 1, {}]}}})
@example({"id_token": {"acr": {"essential": True, "values": "x"}, "sub": {"value": 5}}})
@example({"id_token": {"x": {"value": "\x00"}}})
@example({"id_token": {"\ud800": None}})
@example({"userinfo": {"x": {"value": float("nan")}}})
@example({"userinfo": {"x": {"value": float("inf")}}})
def test_any_json_is_refused_or_understood(document: Any) -> None:
    check_is_sound(json.dumps(document))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="a list"),
        pytest.param('{"userinfo":[]}', id="a member that is an empty list"),
        pytest.param('{"userinfo":""}', id="a member that is empty text"),
        pytest.param('{"id_token":false}', id="a member that is false"),
        pytest.param('{"id_token":{"acr":true}}', id="a wish that is no object"),
        pytest.param('{"id_token":{"acr":"x"}}', id="a wish that is text"),
        pytest.param('{"id_token":{"x":{"value":"\\u0000"}}}', id="NUL"),
        pytest.param('{"id_token":{"x":{"value":"\\ud800"}}}', id="a lone surrogate"),
        pytest.param('{"id_token":{"x":{"value":NaN}}}', id="NaN, which is no JSON"),
        pytest.param('{"id_token":{"x":{"value":1e999}}}', id="a number beyond all numbers"),
        pytest.param('{"id_token":{"x":{"value":' + "[" * 100 + "]" * 100 + "}}}", id="deep nesting"),
        pytest.param('{"id_token":{"x":' + '{"a":' * 700 + "1" + "}" * 700 + "}}", id="deeper nesting"),
        pytest.param(json.dumps({"userinfo": {f"c{n}": None for n in range(101)}}), id="too many names"),
        pytest.param(json.dumps({"userinfo": {"a" * 9000: None}}), id="too long"),
    ],
)
def test_a_malformed_request_is_refused(text: str) -> None:
    with pytest.raises(OAuthError) as refused:
        claims.parse(text)
    assert (refused.value.code, refused.value.reason) == ("invalid_request", "claims_malformed")


def test_unknown_members_and_null_are_ignored() -> None:
    request = claims.parse('{"userinfo":null,"other":[1],"id_token":{"name":null}}')
    assert request == ClaimsRequest({}, {"name": None})
    assert claims.parse(None) == ClaimsRequest()


def test_the_example_of_section_5_5_is_understood() -> None:
    request = claims.parse(
        json.dumps(
            {
                "userinfo": {"given_name": {"essential": True}, "nickname": None, "email": {"essential": True}},
                "id_token": {"auth_time": {"essential": True}, "acr": {"values": ["urn:mace:incommon:iap:silver"]}},
            }
        )
    )
    assert request.personal_names() == {"given_name", "nickname", "email"}
    assert request.essential_acr() is None
    assert request.requested_subject() is None


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        pytest.param({"essential": True, "values": ["a", "b"]}, ("a", "b"), id="essential values"),
        pytest.param({"essential": True, "value": "a"}, ("a",), id="one essential value"),
        pytest.param({"essential": True, "values": [1, None]}, (), id="essential values that nobody can reach"),
        pytest.param({"essential": True}, None, id="essential, whatever it is"),
        pytest.param({"essential": False, "values": ["a"]}, None, id="not essential"),
        pytest.param({"essential": "true", "values": ["a"]}, None, id="essential as text"),
        pytest.param({"essential": 1, "values": ["a"]}, None, id="essential as number"),
        pytest.param({"values": ["a"]}, None, id="voluntary"),
        pytest.param(None, None, id="null"),
    ],
)
def test_an_essential_acr(wanted: Any, values: tuple[str, ...] | None) -> None:
    assert asking(acr=wanted).essential_acr() == values
    assert asking("userinfo", acr=wanted).essential_acr() is None


@pytest.mark.parametrize(
    ("wanted", "subject"), [({"value": "abc"}, "abc"), ({"value": 1}, None), ({}, None), (None, None)]
)
def test_a_requested_subject(wanted: Any, subject: str | None) -> None:
    assert asking(sub=wanted).requested_subject() == subject


@given(st.sets(st.sampled_from(sorted(RESERVED_CLAIMS)), min_size=1))
def test_no_persons_data_stands_under_a_name_of_the_protocol(names: set[str]) -> None:
    person = User(UserId(UUID(int=2)), "eve", dict.fromkeys(names, "forged"))
    wanted = dict.fromkeys(names)
    request = ClaimsRequest(wanted, wanted)
    policy = TenantPolicy(
        id_token_claims=dict.fromkeys(names, "department"),
        userinfo_claims={"read": dict.fromkeys(names, "username")},
    )
    assert claims.for_id_token(person, request, policy) == {}
    assert claims.for_userinfo(person, ["read"], request, policy) == {}
    assert claims.mapped(TARO, dict.fromkeys(names, "department")) == {}
    assert request.personal_names() == frozenset()


def test_roles_leave_through_the_tenants_mapping_only() -> None:
    request = asking("userinfo", roles=None)
    assert "roles" not in claims.for_userinfo(TARO, ["openid"], request, POLICY)
    policy = TenantPolicy(userinfo_claims={"read": {"groups": "roles"}})
    assert claims.for_userinfo(TARO, ["read"], NOBODY, policy) == {"groups": ["researcher"]}


@pytest.mark.parametrize("scope", SCOPE_CLAIMS)
def test_a_scope_releases_its_own_claims_and_no_others(scope: str) -> None:
    everything = {name: True for names in SCOPE_CLAIMS.values() for name in names}
    person = User(UserId(UUID(int=3)), "all", everything, updated_at=5.0)
    assert set(claims.for_userinfo(person, [scope], NOBODY, POLICY)) == set(SCOPE_CLAIMS[scope])
    assert claims.for_userinfo(person, ["openid", "offline_access", "read"], NOBODY, POLICY) == {}


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        pytest.param({"email": "a@b", "email_verified": True}, True, id="verified"),
        pytest.param({"email": "a@b", "email_verified": False}, False, id="not verified"),
        pytest.param({"email": "a@b"}, False, id="never asked"),
        pytest.param({"email": "a@b", "email_verified": "true"}, False, id="text"),
        pytest.param({"email": "a@b", "email_verified": 1}, False, id="a number"),
        pytest.param({"email_verified": True}, None, id="no address"),
    ],
)
def test_an_address_is_verified_only_if_it_was(stored: dict[str, Any], told: bool | None) -> None:
    """Pitfalls P34."""
    answer = claims.for_userinfo(User(UserId(UUID(int=4)), "u", stored), ["email"], NOBODY, POLICY)
    assert answer.get("email_verified") is told


def test_what_is_not_known_of_a_person_is_left_out() -> None:
    answer = claims.for_userinfo(TARO, ["profile"], NOBODY, POLICY)
    assert answer == {"name": "山田 太郎", "preferred_username": "taro", "updated_at": 12}


def test_a_mapping_renames() -> None:
    mapping = {"dept": "department", "who": "username", "roles": "roles", "absent": "nothing", "sub": "department"}
    assert claims.mapped(TARO, mapping) == {"dept": "research", "who": "taro", "roles": ["researcher"]}


def test_by_name_a_client_gets_standard_and_mapped_claims_and_nothing_else_that_is_stored() -> None:
    user = User(
        UserId(UUID(int=5)), "yamada", {"nickname": "taro", "unit": "brewing", "salary_grade": "7"}, ("viewer",)
    )
    policy = TenantPolicy(access_token_claims={"department": "unit", "groups": "roles"})
    wanted: dict[str, None] = {"nickname": None, "department": None, "groups": None, "salary_grade": None, "unit": None}
    told = {"nickname": "taro", "department": "brewing", "groups": ["viewer"]}
    assert claims.for_userinfo(user, (), ClaimsRequest(userinfo=wanted), policy) == told
    assert claims.for_id_token(user, ClaimsRequest(id_token=wanted), policy) == told
