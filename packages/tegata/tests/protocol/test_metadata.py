"""Metadata: every entry is what the rules really do, and nothing is promised (RFC 8414, pitfalls P36)."""

from __future__ import annotations

from typing import get_args
from uuid import UUID

import pytest

from tegata.api.oauth import OAuthEndpoints
from tegata.flows.token.endpoint import GRANTS
from tegata.identifiers import TenantId
from tegata.protocol import metadata
from tegata.protocol.authorization_request import DISPLAYS, PROMPTS, RESPONSE_MODES
from tegata.protocol.claims import RESERVED_CLAIMS, SCOPE_CLAIMS
from tegata.protocol.client import AuthMethod, GrantType
from tegata.protocol.policy import ScopeText, SubjectType, Tenant, TenantPolicy
from tegata.web.locales import LOCALES

ISSUER = "https://id.example/demo"
TENANT = Tenant(
    TenantId(UUID(int=1)), "demo", ISSUER, TenantPolicy(scopes=(ScopeText("read"), ScopeText("write"))), b"salt"
)
DOCUMENT = metadata.build(TENANT, ["ES256", "RS256", "ES256"])


def test_nothing_is_listed_that_is_not_tested_here() -> None:
    assert set(DOCUMENT) == {
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "introspection_endpoint",
        "revocation_endpoint",
        "end_session_endpoint",
        "scopes_supported",
        "response_types_supported",
        "response_modes_supported",
        "grant_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "introspection_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_signing_alg_values_supported",
        "revocation_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_signing_alg_values_supported",
        "code_challenge_methods_supported",
        "acr_values_supported",
        "display_values_supported",
        "prompt_values_supported",
        "claim_types_supported",
        "claims_supported",
        "claims_parameter_supported",
        "request_parameter_supported",
        "request_uri_parameter_supported",
        "authorization_response_iss_parameter_supported",
        "ui_locales_supported",
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("token_endpoint", "token"),
        ("userinfo_endpoint", "userinfo"),
        ("jwks_uri", "jwks"),
        ("introspection_endpoint", "introspect"),
        ("revocation_endpoint", "revoke"),
    ],
)
def test_an_endpoint_is_where_the_router_answers(name: str, path: str) -> None:
    assert DOCUMENT[name] == f"{ISSUER}/{path}"
    assert path in OAuthEndpoints(None).routes()  # type: ignore[arg-type] # routes are bound, not called


def test_pages_are_below_the_issuer() -> None:
    assert DOCUMENT["issuer"] == ISSUER
    assert DOCUMENT["authorization_endpoint"] == f"{ISSUER}/authorize"
    assert DOCUMENT["end_session_endpoint"] == f"{ISSUER}/end_session"


def test_lists_are_what_the_rules_accept() -> None:
    assert set(DOCUMENT["grant_types_supported"]) == set(GRANTS) == set(get_args(GrantType))
    assert set(DOCUMENT["token_endpoint_auth_methods_supported"]) == set(get_args(AuthMethod))
    assert set(DOCUMENT["revocation_endpoint_auth_methods_supported"]) == set(get_args(AuthMethod))
    assert set(DOCUMENT["subject_types_supported"]) == set(get_args(SubjectType))
    assert DOCUMENT["response_modes_supported"] == list(RESPONSE_MODES)
    assert DOCUMENT["prompt_values_supported"] == list(PROMPTS)
    assert DOCUMENT["display_values_supported"] == list(DISPLAYS)
    assert DOCUMENT["code_challenge_methods_supported"] == ["S256"]
    assert DOCUMENT["response_types_supported"] == ["code"]
    assert set(DOCUMENT["ui_locales_supported"]) == set(LOCALES)


def test_introspection_is_for_confidential_clients() -> None:
    """RFC 7662 §2.1."""
    methods = set(DOCUMENT["introspection_endpoint_auth_methods_supported"])
    assert methods == set(get_args(AuthMethod)) - {"none"}


def test_only_asymmetric_algorithms_are_listed_and_those_the_tenant_has_a_key_for() -> None:
    assert DOCUMENT["id_token_signing_alg_values_supported"] == ["RS256", "ES256"]
    assert metadata.build(TENANT, ["ES256"])["id_token_signing_alg_values_supported"] == ["ES256"]
    listed = {value for name, values in DOCUMENT.items() if "signing_alg" in name for value in values}
    assert listed == {"RS256", "ES256", "PS256"}


def test_scopes_and_claims_are_the_standards_and_the_tenants_own() -> None:
    assert DOCUMENT["scopes_supported"] == [
        "openid", "profile", "email", "address", "phone", "offline_access", "read", "write",
    ]  # fmt: skip
    personal = {claim for claims in SCOPE_CLAIMS.values() for claim in claims}
    assert set(DOCUMENT["claims_supported"]) == personal | (set(DOCUMENT["claims_supported"]) & RESERVED_CLAIMS)
    assert "sub" in DOCUMENT["claims_supported"]


def test_switches_say_what_is_built() -> None:
    assert DOCUMENT["claims_parameter_supported"] is True
    assert DOCUMENT["request_parameter_supported"] is False
    assert DOCUMENT["request_uri_parameter_supported"] is False
    assert DOCUMENT["authorization_response_iss_parameter_supported"] is True
    assert DOCUMENT["claim_types_supported"] == ["normal"]


def test_no_list_repeats_itself() -> None:
    for name, value in DOCUMENT.items():
        if isinstance(value, list):
            assert len(value) == len(set(value)) > 0, name
