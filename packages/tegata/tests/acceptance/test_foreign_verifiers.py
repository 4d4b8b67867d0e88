"""npm jose and PyJWT verify tokens with nothing but the published keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
import pytest

from .contract import Tenant, User
from .node import run
from .relying_party import Browser, Party, RelyingParty

pytestmark = pytest.mark.foreign

Verify = Callable[..., dict[str, Any]]


def with_jose(token: str, party: RelyingParty, audience: str, typ: str | None = None) -> dict[str, Any]:
    algorithm = jwt.get_unverified_header(token)["alg"]
    assert algorithm in {"ES256", "RS256"}
    result = run(
        "jose_verify.mjs",
        token=token,
        jwks_uri=party.metadata["jwks_uri"],
        issuer=party.metadata["issuer"],
        audience=audience,
        algorithms=[algorithm],
        **({"typ": typ} if typ else {}),
    )
    if "failed" in result:
        raise jwt.InvalidTokenError(result["failed"]["description"])
    payload: dict[str, Any] = result["payload"]
    return payload


def with_pyjwt(token: str, party: RelyingParty, audience: str, typ: str | None = None) -> dict[str, Any]:
    if typ:
        assert jwt.get_unverified_header(token)["typ"] == typ
    return party.verify(token, audience=audience)


LIBRARIES = pytest.mark.parametrize("verify", [with_jose, with_pyjwt], ids=["jose", "pyjwt"])


def access_audience(token: str) -> str:
    audience = jwt.decode(token, options={"verify_signature": False})["aud"]
    return str(audience if isinstance(audience, str) else audience[0])


@LIBRARIES
@pytest.mark.parametrize("tenant_name", ["demo", "other"])
def test_id_token_verifies(party: Party, browser: Browser, verify: Verify, tenant_name: str) -> None:
    """OIDC Core §3.1.3.7."""
    web = party(tenant_name, "web")
    tokens = web.tokens(browser, web.tenant.users[0])
    assert verify(tokens["id_token"], web, f"{tenant_name}-web")["sub"]


@LIBRARIES
def test_access_token_of_a_person_verifies(web: RelyingParty, browser: Browser, user: User, verify: Verify) -> None:
    """RFC 9068 §4."""
    token = web.tokens(browser, user, scope="openid profile")["access_token"]
    assert verify(token, web, access_audience(token), "at+jwt")["client_id"] == "demo-web"


@LIBRARIES
def test_access_token_of_a_service_verifies(party: Party, verify: Verify) -> None:
    """RFC 9068 §2.2: without a person the subject is the client."""
    service = party("demo", "service")
    token = service.token(grant_type="client_credentials").json()["access_token"]
    claims = verify(token, service, access_audience(token), "at+jwt")
    assert claims["sub"] == claims["client_id"] == "demo-service"


@LIBRARIES
def test_a_changed_token_does_not_verify(party: Party, verify: Verify) -> None:
    service = party("demo", "service")
    token = service.token(grant_type="client_credentials").json()["access_token"]
    audience = access_audience(token)
    head, _, signature = token.rpartition(".")
    # The first character carries six whole bits of the signature; the last may carry padding only.
    changed = f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    with pytest.raises(jwt.InvalidTokenError):
        verify(changed, service, audience)


def test_keys_of_one_tenant_do_not_verify_tokens_of_another(party: Party) -> None:
    """P06: every tenant has keys of its own."""
    demo, other = party("demo", "service"), party("other", "service")
    token = demo.token(grant_type="client_credentials").json()["access_token"]
    kids = {key["kid"] for key in other.keys()["keys"]}
    assert jwt.get_unverified_header(token)["kid"] not in kids
    moduli = {key.get("n") or key.get("x") for key in other.keys()["keys"]}
    assert not moduli & {key.get("n") or key.get("x") for key in demo.keys()["keys"]}


def test_seed_tenant_puts_its_claims_into_the_access_token(web: RelyingParty, browser: Browser, demo: Tenant) -> None:
    """The `demo` tenant maps roles, department, name, email and several audiences into its access tokens."""
    token = web.tokens(browser, demo.users[0], scope="openid profile email read")["access_token"]
    claims = web.verify(token)
    assert set(claims["roles"]) == set(demo.users[0].roles)
    assert {"department", "name", "email"} <= claims.keys()
    assert "read" in claims["scope"].split()
    assert isinstance(claims["aud"], list)
