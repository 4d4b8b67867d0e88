"""The authorization request: which checks it passes, in which order, and where the answer goes (OIDC Core §3.1.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.protocol import authorization_request as rules
from tegata.protocol.authorization_request import AnswerTo, AuthorizationRequest
from tegata.protocol.client import Client, ClientMetadata
from tegata.protocol.errors import OAuthError, Refused
from tegata.protocol.parameters import Parameters, parse_form
from tegata.protocol.policy import Resource, ScopeText, TenantPolicy

from .outcome import outcome_of

URI = "https://rp.example/cb"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
GOOD = {
    "client_id": "web",
    "response_type": "code",
    "redirect_uri": URI,
    "scope": "openid email",
    "state": "s",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
CLIENT = Client("web", ClientMetadata(redirect_uris=(URI,)))
POLICY = TenantPolicy(scopes=(ScopeText("read"),), resources=(Resource("https://api.example/"),))


def with_metadata(**changes: object) -> Client:
    return replace(CLIENT, metadata=replace(CLIENT.metadata, **changes))  # type: ignore[arg-type]


def parsed(client: Client = CLIENT, policy: TenantPolicy = POLICY, **changes: str | None) -> AuthorizationRequest:
    sent = {**GOOD, **changes}
    parameters = Parameters((name, value) for name, value in sent.items() if value is not None)
    target = rules.answer_to(parameters, client, allow_loopback_http=False)
    return rules.parse(parameters, client, policy, target)


def refused(client: Client = CLIENT, policy: TenantPolicy = POLICY, **changes: str | None) -> tuple[str, str]:
    with pytest.raises(OAuthError) as found:
        parsed(client, policy, **changes)
    return found.value.code, found.value.reason


def test_a_good_request_is_understood() -> None:
    request = parsed(
        nonce="n",
        prompt="login consent",
        max_age="0",
        acr_values="a b",
        login_hint="anna",
        id_token_hint="h",
        ui_locales="ja en",
        display="popup",
        response_mode="form_post",
        resource="https://api.example/",
        claims='{"id_token":{"acr":null}}',
        unknown_parameter="ignored",
    )
    assert "openid" in request.scopes
    assert request.answer_to == AnswerTo(URI, True, "form_post", "s")
    assert (request.scopes, request.nonce, request.max_age) == (("openid", "email"), "n", 0)
    assert request.prompts == {"login", "consent"}
    assert request.acr_values == ("a", "b")
    assert request.resources == ("https://api.example/",)
    assert (request.login_hint, request.id_token_hint, request.ui_locales) == ("anna", "h", "ja en")
    assert request.claims.id_token == {"acr": None}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"response_type": None}, ("invalid_request", "parameter_missing")),
        ({"response_type": "token"}, ("unsupported_response_type", "unsupported_response_type")),
        ({"response_type": "code id_token"}, ("unsupported_response_type", "unsupported_response_type")),
        ({"response_type": "code code"}, ("unsupported_response_type", "unsupported_response_type")),
        ({"response_type": "CODE"}, ("unsupported_response_type", "unsupported_response_type")),
        ({"response_type": "none"}, ("unsupported_response_type", "unsupported_response_type")),
        ({"response_mode": "fragment"}, ("invalid_request", "response_mode")),
        ({"response_mode": "web_message"}, ("invalid_request", "response_mode")),
        ({"request": "eyJ.e30."}, ("request_not_supported", "request_object")),
        ({"request_uri": "https://rp.example/r"}, ("request_uri_not_supported", "request_object")),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, ("request_uri_not_supported", "request_object")),
        ({"display": "hologram"}, ("invalid_request", "display")),
        ({"code_challenge": None, "code_challenge_method": None}, ("invalid_request", "pkce_missing")),
        ({"code_challenge_method": "plain"}, ("invalid_request", "pkce_method")),
        ({"code_challenge": None}, ("invalid_request", "pkce_malformed")),
        ({"prompt": "create"}, ("invalid_request", "prompt")),
        ({"prompt": "none login"}, ("invalid_request", "prompt")),
        ({"prompt": "LOGIN"}, ("invalid_request", "prompt")),
        ({"max_age": "-1"}, ("invalid_request", "max_age")),
        ({"max_age": "1.5"}, ("invalid_request", "max_age")),
        ({"max_age": "+1"}, ("invalid_request", "max_age")),
        ({"max_age": "1_0"}, ("invalid_request", "max_age")),
        ({"max_age": " 1"}, ("invalid_request", "max_age")),
        ({"max_age": "\u0661"}, ("invalid_request", "max_age")),
        ({"max_age": "\u00b2"}, ("invalid_request", "max_age")),
        ({"max_age": "9" * 5000}, ("invalid_request", "max_age")),
        ({"scope": "openid \u00e9"}, ("invalid_scope", "scope_malformed")),
        ({"scope": "unknown"}, ("invalid_scope", "scope_not_allowed")),
        ({"scope": None, "redirect_uri": None}, ("invalid_scope", "scope_missing")),
        ({"resource": "https://other.example/"}, ("invalid_target", "resource_not_allowed")),
        ({"resource": "http://["}, ("invalid_target", "resource_not_allowed")),
        ({"claims": "{"}, ("invalid_request", "claims_malformed")),
    ],
    ids=lambda value: " ".join(f"{k}={v}"[:40] for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_a_request_is_refused_to_the_client(changes: dict[str, str | None], refusal: tuple[str, str]) -> None:
    assert refused(CLIENT, POLICY, **changes) == refusal


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"grant_types": ("client_credentials",)}, "not_allowed", id="no code grant"),
        pytest.param({"response_types": ()}, "not_allowed", id="no response type"),
    ],
)
def test_a_client_without_the_code_grant_is_unauthorized(changes: dict[str, object], reason: str) -> None:
    assert refused(with_metadata(**changes)) == ("unauthorized_client", reason)


def answered_to(client: Client | None = CLIENT, **changes: str | None) -> AnswerTo:
    sent = {**GOOD, **changes}
    parameters = Parameters((name, value) for name, value in sent.items() if value is not None)
    return rules.answer_to(parameters, client, allow_loopback_http=False)


@pytest.mark.parametrize(
    ("client", "changes", "reason"),
    [
        pytest.param(None, {}, "client_unknown", id="unknown client"),
        pytest.param(with_metadata(disabled=True), {}, "client_unknown", id="disabled client"),
        pytest.param(CLIENT, {"redirect_uri": URI + "/"}, "redirect_uri_not_registered", id="another redirect URI"),
        pytest.param(CLIENT, {"redirect_uri": None}, "redirect_uri_missing", id="none, though openid asks for one"),
        pytest.param(CLIENT, {"redirect_uri": ""}, "redirect_uri_missing", id="an empty one"),
        pytest.param(
            with_metadata(redirect_uris=("http://localhost/cb",)),
            {"redirect_uri": "http://localhost/cb"},
            "redirect_uri_not_allowed",
            id="http in production",
        ),
    ],
)
def test_without_a_verified_redirect_uri_only_a_person_is_told(
    client: Client | None, changes: dict[str, str | None], reason: str
) -> None:
    with pytest.raises(Refused) as found:
        answered_to(client, **changes)
    assert found.value.reason == reason


def test_a_repeated_redirect_uri_or_client_is_told_to_a_person() -> None:
    twice = Parameters([*GOOD.items(), ("redirect_uri", URI)])
    with pytest.raises(Refused) as found:
        rules.answer_to(twice, CLIENT, allow_loopback_http=False)
    assert found.value.reason == "redirect_uri_repeated"
    for raw in (b"client_id=web&client_id=web", b"client_id=", b""):
        with pytest.raises(Refused) as missing:
            rules.client_id_of(parse_form(raw))
        assert missing.value.reason == "client_id_missing"


@pytest.mark.parametrize("name", ["state", "nonce", "scope", "code_challenge", "prompt", "anything"])
def test_any_other_repeated_parameter_is_told_to_the_client_even_after_the_request_was_stored(name: str) -> None:
    """RFC 6749 §3.1. A request from another site is parked before it is checked."""
    twice = Parameters([*GOOD.items(), (name, "1"), (name, "2")])
    for parameters in (twice, Parameters.from_document(dict(rules.stored(twice)))):
        target = rules.answer_to(parameters, CLIENT, allow_loopback_http=False)
        assert target.state == (None if name == "state" else "s")
        with pytest.raises(OAuthError) as found:
            rules.parse(parameters, CLIENT, POLICY, target)
        assert found.value.reason == "parameter_repeated"


def test_an_unknown_response_mode_is_answered_in_the_query() -> None:
    assert answered_to(response_mode="fragment").response_mode == "query"


@pytest.mark.parametrize(
    ("method", "client_profile", "tenant_profile", "require_pkce", "required"),
    [
        pytest.param("client_secret_basic", None, "oauth21", False, True, id="default profile"),
        pytest.param("client_secret_basic", None, "oidc-legacy", False, False, id="legacy tenant"),
        pytest.param("client_secret_basic", None, "oidc-legacy", True, True, id="legacy tenant, strict client"),
        pytest.param("client_secret_basic", "oidc-legacy", "oauth21", False, False, id="legacy client"),
        pytest.param(
            "client_secret_basic", "oauth21", "oidc-legacy", False, True, id="modern client of a legacy tenant"
        ),
        pytest.param("none", "oidc-legacy", "oidc-legacy", False, True, id="public client, whatever the profile"),
        pytest.param("private_key_jwt", None, "oauth21", False, True, id="key instead of secret"),
    ],
)
def test_pkce_is_required(
    method: str, client_profile: str | None, tenant_profile: str, require_pkce: bool, required: bool
) -> None:
    client = with_metadata(token_endpoint_auth_method=method, profile=client_profile, require_pkce=require_pkce)
    policy = replace(POLICY, profile=tenant_profile)  # type: ignore[arg-type]
    assert rules.pkce_required(client, policy) is required


def test_the_clients_defaults_fill_in() -> None:
    client = with_metadata(default_max_age=30, default_acr_values=("gold",), scope="openid email")
    request = parsed(client, scope=None, redirect_uri=None)
    assert (request.max_age, request.acr_values, request.scopes) == (30, ("gold",), ("openid", "email"))
    assert request.answer_to == AnswerTo(URI, False, "query", "s")
    assert parsed(client, max_age="5", acr_values="a").max_age == 5


parameter = st.sampled_from(
    [*GOOD, "nonce", "prompt", "max_age", "claims", "resource", "request", "response_mode", "display", "acr_values"]
)
value = st.text(max_size=20) | st.sampled_from([*GOOD.values(), "none", "0", "{}", "form_post", "https://api.example/"])


@given(st.lists(st.tuples(parameter, value), max_size=6), st.booleans())
def test_any_parameters_are_refused_or_understood(changes: list[tuple[str, str]], on_top: bool) -> None:
    parameters = Parameters([*GOOD.items(), *changes] if on_top else {**GOOD, **dict(changes)}.items())
    target = outcome_of(lambda: rules.answer_to(parameters, CLIENT, allow_loopback_http=True))
    if not isinstance(target, AnswerTo):
        assert isinstance(target, Refused)
        return
    assert target.redirect_uri == URI
    request = outcome_of(lambda: rules.parse(parameters, CLIENT, POLICY, target))
    if isinstance(request, AuthorizationRequest):
        assert request.code_challenge is not None
        assert set(request.scopes) <= {"openid", "profile", "email", "address", "phone", "offline_access", "read"}
    else:
        assert isinstance(request, OAuthError)
        assert request.description.isascii()
