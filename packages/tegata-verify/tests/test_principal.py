"""From claims to a principal that nobody can change."""

from __future__ import annotations

import pytest

from tegata_verify import ClaimPaths, Generic, Principal, Reason, Tegata, TokenError
from tegata_verify.principal import build_principal
from tegata_verify.tokens import VerifiedClaims

RULES = Tegata("https://id.example/demo", ["api"])


def build(claims, rules=RULES):
    return build_principal(VerifiedClaims({"sub": "u", "client_id": "c", **claims}), rules)


def test_the_seeds_payload_becomes_a_principal():
    claims = {
        "sub": "user-uuid-here",
        "aud": ["beer-development-service", "fermentation-research-service"],
        "scope": "read write",
        "roles": ["researcher", "developer"],
        "department": "beer-development",
        "name": "山田 太郎",
        "acr": "urn:pwd",
        "auth_time": 1732748400,
    }
    principal = build(claims)
    assert principal.subject == "user-uuid-here"
    assert principal.tenant == "demo"
    assert principal.client_id == "c"
    assert principal.scopes == {"read", "write"}
    assert principal.roles == {"researcher", "developer"}
    assert (principal.acr, principal.auth_time) == ("urn:pwd", 1732748400)
    assert principal.claims["name"] == "山田 太郎"
    assert not principal.is_service


def test_a_client_that_acts_for_itself_is_a_service():
    assert build({"sub": "batch", "client_id": "batch"}).is_service
    assert not Principal("https://id.example", "batch").is_service


def test_without_scope_and_roles_there_are_none():
    principal = build({})
    assert (principal.scopes, principal.roles) == (frozenset(), frozenset())


@pytest.mark.parametrize("scope", ["read write", ["read", "write"], "  write  read "])
def test_scope_is_text_or_a_list(scope):
    assert build({"scope": scope}).scopes == {"read", "write"}


@pytest.mark.parametrize(
    "claims",
    [
        {"roles": "admin"},
        {"roles": {"admin": 1}},
        {"roles": ["admin", 1]},
        {"roles": 7},
        {"scope": 7},
        {"scope": [["read"]]},
        {"scope": {"read": 1}},
        {"sub": 7},
        {"client_id": ["c"]},
        {"acr": 2},
        {"auth_time": "now"},
        {"auth_time": True},
    ],
    ids=str,
)
def test_a_claim_of_the_wrong_type_grants_nothing(claims):
    with pytest.raises(TokenError) as caught:
        build(claims)
    assert caught.value.reason == Reason.MALFORMED_CLAIM


def test_claims_are_found_where_the_issuer_keeps_them():
    paths = ClaimPaths(roles=("realm_access", "roles"), scope=("scp",), client_id=("azp",))
    rules = Generic("https://id.example", ["api"], claim_paths=paths)
    claims = {"realm_access": {"roles": ["admin"]}, "scp": ["read"], "azp": "spa", "roles": ["decoy"], "scope": "decoy"}
    principal = build(claims, rules)
    assert (principal.roles, principal.scopes, principal.client_id) == ({"admin"}, {"read"}, "spa")
    assert build({"realm_access": ["admin"], "azp": "spa"}, rules).roles == frozenset()


def test_a_principal_cannot_be_changed_at_any_depth():
    principal = build({"nested": {"list": [{"a": [1]}]}})
    assert principal.claims["nested"]["list"] == ({"a": (1,)},)
    for change in (
        lambda: setattr(principal, "subject", "admin"),
        lambda: principal.claims.__setitem__("sub", "admin"),
        lambda: principal.claims["nested"].__setitem__("a", 1),
        lambda: principal.claims["nested"]["list"].append(1),
        lambda: principal.claims["nested"]["list"][0].update(a=1),
    ):
        with pytest.raises((AttributeError, TypeError)):
            change()


def test_a_principal_keeps_personal_data_out_of_its_representation():
    assert "山田" not in repr(build({"name": "山田 太郎"}))


def test_principals_can_be_members_of_sets():
    assert len({build({}), build({}), build({"sub": "other"})}) == 2
