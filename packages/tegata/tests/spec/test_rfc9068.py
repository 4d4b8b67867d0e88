"""RFC 9068 access tokens and RFC 9207 issuer identification."""

from __future__ import annotations

import jwt
import pytest
from packages.tegata.tests.acceptance.contract import User
from packages.tegata.tests.acceptance.relying_party import Browser, Landing, Party, RelyingParty, success


def test_header_names_the_type_and_the_key(party: Party) -> None:
    """RFC 9068 §2.1."""
    service = party("demo", "service")
    header = jwt.get_unverified_header(success(service.token(grant_type="client_credentials"))["access_token"])
    assert header["typ"] == "at+jwt"
    assert header["alg"] in {"ES256", "RS256"}
    assert header["kid"] in {key["kid"] for key in service.keys()["keys"]}


@pytest.mark.parametrize("tenant_name", ["demo", "other"])
def test_required_claims_are_present(party: Party, browser: Browser, tenant_name: str) -> None:
    """RFC 9068 §2.2."""
    web = party(tenant_name, "web")
    tokens = web.tokens(browser, web.tenant.users[0], scope="openid email")
    claims = web.verify(tokens["access_token"])
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} <= claims.keys()
    assert claims["client_id"] == web.client.client_id
    assert set(claims["scope"].split()) == set(tokens["scope"].split())  # §2.2.3
    assert claims["exp"] - claims["iat"] == 3600


def test_new_tenant_puts_nothing_personal_into_the_token(party: Party, browser: Browser) -> None:
    """RFC 9068 §5: `other` has the defaults of a new tenant, the minimal token."""
    web = party("other", "web")
    tokens = web.tokens(browser, web.tenant.users[0], scope="openid profile email")
    claims = web.verify(tokens["access_token"])
    assert not {"name", "email", "department", "given_name", "family_name"} & claims.keys()


def test_two_tokens_have_two_ids(party: Party) -> None:
    """RFC 9068 §2.2: jti."""
    service = party("demo", "service")
    made = [success(service.token(grant_type="client_credentials"))["access_token"] for _ in range(2)]
    first, second = (service.verify(token)["jti"] for token in made)
    assert first != second


@pytest.mark.parametrize("mode", ["query", "form_post"])
def test_success_and_error_answers_carry_the_issuer(web: RelyingParty, browser: Browser, user: User, mode: str) -> None:
    """RFC 9207 §2."""
    error = browser.visit(web.attempt(prompt="none", response_mode=mode).url)
    assert isinstance(error, Landing)
    assert error.params["iss"] == web.tenant.issuer
    assert browser.sign_in(web.attempt(response_mode=mode).url, user).params["iss"] == web.tenant.issuer


def test_metadata_says_so(web: RelyingParty) -> None:
    """RFC 9207 §3."""
    assert web.metadata["authorization_response_iss_parameter_supported"] is True
