"""The sense of documents: each fault names its field and the cure."""

from __future__ import annotations

from typing import Any

import pytest

from tegata.crypto.keys import generate_key, private_bytes, public_jwk
from tegata.flows.admin.problems import InvalidDocuments
from tegata.protocol.claims import RESERVED_CLAIMS

from .documents_of import client, document, parsed, role, tenant, user

PUBLIC_KEY = public_jwk(generate_key("ES256"))
LOCAL = "http://127.0.0.1:9000/callback"


def refusal(*texts: str, allow_loopback_http: bool = False) -> str:
    with pytest.raises(InvalidDocuments) as caught:
        parsed(*texts, allow_loopback_http=allow_loopback_http)
    return str(caught.value)


def jwt_client(name: str = "jwt", **spec: Any) -> str:
    return client(name, token_endpoint_auth_method="private_key_jwt", secret_refs=..., **spec)


def test_good_documents_pass() -> None:
    parsed(
        tenant(scopes=[{"name": "read", "description": {"en": "Read", "ja": "閲覧"}}], default_audience=["api"]),
        role("member", permissions=["a:read"]),
        client(),
        client("spa", token_endpoint_auth_method="none", secret_refs=...),
        jwt_client(jwks={"keys": [PUBLIC_KEY]}),
        user(roles=["member"], claims={"name": "Jo", "email": "jo@acme.example", "email_verified": True}),
    )


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"redirect_uris": [LOCAL]}, "spec.redirect_uris[0]", "https is required"),
        ({"redirect_uris": ["https://a.example/#x"]}, "spec.redirect_uris[0]", "fragment"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "spec.redirect_uris[0]", "scheme"),
        ({"redirect_uris": []}, "spec.redirect_uris", "authorization_code"),
        ({"redirect_uris": ["https://a.example"] * 2}, "spec.redirect_uris[1]", "twice"),
        ({"redirect_uris": ["https://a.example/" + "a" * 3000]}, "spec.redirect_uris[0]", "longer"),
        ({"post_logout_redirect_uris": ["http://a.example"]}, "spec.post_logout_redirect_uris[0]", "https"),
        ({"grant_types": []}, "spec.grant_types", "empty"),
        ({"grant_types": ["refresh_token"]}, "spec.grant_types", "authorization_code"),
        ({"response_types": []}, "spec.response_types", "code"),
        ({"token_endpoint_auth_method": "none"}, "spec.secret_refs", "not used"),
        (
            {"token_endpoint_auth_method": "none", "secret_refs": ..., "grant_types": ["client_credentials"]},
            "spec.grant_types",
            "public client",
        ),
        ({"secret_refs": []}, "spec.secret_refs", "needs a secret"),
        ({"jwks_uri": "http://a.example/jwks"}, "spec.jwks_uri", "https"),
        ({"logo_uri": "com.example.app:/logo"}, "spec.logo_uri", "https"),
        (
            {"subject_type": "pairwise", "redirect_uris": ["https://a.example", "https://b.example"]},
            "spec.subject_type",
            "",
        ),
        ({"scope": 'read "write"'}, "spec.scope", "scope names"),
        ({"access_token_lifetime_seconds": 0}, "spec.access_token_lifetime_seconds", "between"),
        ({"refresh_token_lifetime_seconds": 10**9}, "spec.refresh_token_lifetime_seconds", "between"),
        ({"default_max_age": -1}, "spec.default_max_age", "between"),
        ({"default_audience": [" "]}, "spec.default_audience[0]", "empty"),
        ({"client_name": "two\nlines"}, "spec.client_name", "one line"),
        ({"contacts": ["a"] * 1001}, "spec.contacts", "more than"),
    ],
)
def test_a_fault_of_a_client_names_its_field(spec: dict[str, Any], path: str, words: str) -> None:
    told = refusal(client(**spec))
    assert "Client acme/web: " + path in told
    assert words in told


def test_http_on_loopback_passes_only_where_it_is_allowed() -> None:
    parsed(client(redirect_uris=[LOCAL]), allow_loopback_http=True)
    assert "http" in refusal(client(redirect_uris=["http://a.example/"]), allow_loopback_http=True)


@pytest.mark.parametrize(
    ("jwks", "words"),
    [
        ({}, "list"),
        ({"keys": []}, "list"),
        ({"keys": "x"}, "list"),
        ({"keys": ["x"]}, "not a key"),
        ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, "private or symmetric"),
        ({"keys": [{**PUBLIC_KEY, "d": "c2VjcmV0"}]}, "private or symmetric"),
        ({"keys": [{**PUBLIC_KEY, "x": "!"}]}, "usable"),
        ({"keys": [{**PUBLIC_KEY, "crv": 5}]}, "usable"),
        ({"keys": [{**PUBLIC_KEY, "crv": "P-521"}]}, "usable"),
        ({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "c2VjcmV0"}]}, "usable"),
        ({"keys": [PUBLIC_KEY] * 21}, "more than"),
    ],
)
def test_only_usable_public_keys_are_taken(jwks: dict[str, Any], words: str) -> None:
    told = refusal(jwt_client(jwks=jwks))
    assert "spec.jwks" in told
    assert words in told


def test_a_private_key_is_not_repeated_in_the_message() -> None:
    private = private_bytes(generate_key("ES256")).decode()
    key = {**PUBLIC_KEY, "d": private}
    assert private not in refusal(jwt_client(jwks={"keys": [key]}))


def test_private_key_jwt_needs_one_source_of_keys() -> None:
    assert "needs jwks" in refusal(jwt_client())
    assert "beside" in refusal(jwt_client(jwks={"keys": [PUBLIC_KEY]}, jwks_uri="https://a.example/jwks"))


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"scopes": [{"name": "openid"}]}, "spec.scopes[0].name", "OpenID Connect"),
        ({"scopes": [{"name": "a b"}]}, "spec.scopes[0].name", "printable"),
        ({"scopes": [{"name": ""}]}, "spec.scopes[0].name", "printable"),
        ({"scopes": [{"name": "a"}, {"name": "a"}]}, "spec.scopes[1]", "twice"),
        ({"scopes": [{"name": "a", "description": {"e!": "x"}}]}, "spec.scopes[0].description.e!", "language"),
        ({"resources": [{"identifier": "api"}]}, "spec.resources[0].identifier", "absolute"),
        ({"resources": [{"identifier": "https://a/#b"}]}, "spec.resources[0].identifier", "fragment"),
        ({"resources": [{"identifier": "https://a", "scopes": ["x"]}]}, "spec.resources[0].scopes[0]", "spec.scopes"),
        ({"default_audience": [""]}, "spec.default_audience[0]", "empty"),
        ({"userinfo_claims": {"x": {"a": "b"}}}, "spec.userinfo_claims.x", "spec.scopes"),
        ({"access_token_claims": {"a": ""}}, "spec.access_token_claims.a", "source"),
        ({"access_token_lifetime_seconds": 0}, "spec.access_token_lifetime_seconds", "between 1"),
        ({"authorization_code_lifetime_seconds": 601}, "spec.authorization_code_lifetime_seconds", "600"),
        ({"session_lifetime_seconds": 600}, "spec.session_idle_seconds", "session_lifetime_seconds"),
        ({"display_name": "x" * 201}, "spec.display_name", "200"),
    ],
)
def test_a_fault_of_a_tenant_names_its_field(spec: dict[str, Any], path: str, words: str) -> None:
    told = refusal(tenant(**spec))
    assert "Tenant acme: " + path in told
    assert words in told


@pytest.mark.parametrize("claim", sorted(RESERVED_CLAIMS))
@pytest.mark.parametrize("mapping", ["access_token_claims", "id_token_claims", "userinfo_claims"])
def test_no_mapping_sets_what_the_protocol_sets(claim: str, mapping: str) -> None:
    value: Any = {claim: "department"}
    told = refusal(tenant(**{mapping: {"profile": value} if mapping == "userinfo_claims" else value}))
    assert "set by the protocol" in told


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"sub": "someone-else"}, "protocol"),
        ({"iss": "x"}, "protocol"),
        ({"roles": ["admin"]}, "spec.roles"),
        ({"updated_at": 1}, "server"),
        ({"email": "no address"}, "e-mail"),
        ({"email_verified": "true"}, "true or false"),
        ({"phone_number": 81312345678}, "quotes"),
        ({"birthdate": "12.4.1985"}, "YYYY-MM-DD"),
        ({"picture": "javascript:x"}, "web address"),
        ({"address": "Tokyo"}, "mapping"),
        ({"address": {"city": "Tokyo"}}, "no member"),
        ({"address": {"postal_code": 1}}, "quotes"),
        ({"notes": "x" * 40_000}, "characters"),
    ],
)
def test_a_claim_of_the_wrong_kind_is_refused(claims: dict[str, Any], words: str) -> None:
    told = refusal(user(claims=claims))
    assert "spec.claims" in told
    assert words in told


def test_a_document_may_stand_once() -> None:
    assert "twice" in refusal(client(), client())
    assert "twice" in refusal(user("Jo"), user("jo"))
    parsed(client(), document("Client", "web", {"redirect_uris": ["https://a.example"]}, tenant="beta"))


def test_a_tenant_may_not_have_the_name_of_a_path_of_the_server() -> None:
    assert "metadata.name is reserved" in refusal(tenant("admin"))
    assert "metadata.tenant is reserved" in refusal(document("Role", "x", tenant="static"))


def test_every_fault_of_every_document_is_told() -> None:
    told = refusal(tenant("admin"), client(scope='"'), user(claims={"sub": "x"}))
    assert len(told.splitlines()) == 3
