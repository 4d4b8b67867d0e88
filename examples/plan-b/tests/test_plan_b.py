"""The application under uvicorn, with Cognito: behind a load balancer and without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tegata_verify import ClientCertificates
from tegata_verify.issuers import Cognito
from tegata_verify.testing import TestAlb, TestCertificate, TestIssuer

POOL = "eu-central-1_AbCdEfGhI"
CLIENT = "1example23456789"
PEER = "127.0.0.1"


def publish(alb: TestAlb, published: dict[str, Any]) -> None:
    pem = alb.find_published(alb.key_url)
    assert pem is not None
    published[f"/alb/{alb.kid}"] = pem


@pytest.fixture(scope="module")
def pool(published: dict[str, Any]) -> TestIssuer:
    pool = TestIssuer.of(Cognito("eu-central-1", POOL, client_ids=[CLIENT]))
    published[f"/{POOL}/.well-known/jwks.json"] = pool.jwks()
    return pool


@pytest.fixture(scope="module")
def alb(pool: TestIssuer, published: dict[str, Any]) -> TestAlb:
    alb = TestAlb(pool, client_id=CLIENT, peer=PEER)
    publish(alb, published)
    return alb


@pytest.fixture(scope="module")
def cognito(base: str) -> dict[str, str]:
    return {
        "COGNITO_USER_POOL_ID": POOL,
        "COGNITO_REGION": "eu-central-1",
        "COGNITO_APP_CLIENT_ID": CLIENT,
        "COGNITO_ENDPOINT_URL": base,
    }


@pytest.fixture(scope="module")
def behind(alb: TestAlb, base: str) -> dict[str, str]:
    return {
        "ALB_ARNS": alb.arn,
        "ALB_KEY_URL": f"{base}/alb/{{kid}}",
        "TRUSTED_PEERS": f"{PEER}/32",
        "FORWARDED_ALLOW_IPS": "none",
        "ALLOW_LOOPBACK_HTTP": "1",
    }


@pytest.fixture(scope="module")
def client(server, cognito: dict[str, str], behind: dict[str, str]) -> Iterator[httpx2.Client]:
    with server({**cognito, **behind}) as url, httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client


def error_of(response: httpx2.Response) -> tuple[int, str | None]:
    return response.status_code, response.json().get("error")


def test_anybody_may_ask_for_its_health(client: httpx2.Client):
    assert client.get("/health").json() == {"status": "ok"}


def test_a_user_of_the_pool_is_known_through_the_load_balancer(client: httpx2.Client, alb: TestAlb):
    headers = alb.mint_headers(subject="ann", scope="openid", roles=["brewers"], claims={"email": "ann@example.com"})
    shown = client.get("/me", headers=[*headers, ("X-Forwarded-For", "203.0.113.9")])
    assert (shown.status_code, shown.json()) == (
        200,
        {
            "subject": "ann",
            "client_id": CLIENT,
            "scopes": ["openid"],
            "roles": ["brewers"],
            "email": "ann@example.com",
        },
    )


def test_the_report_is_for_the_group_of_administrators(client: httpx2.Client, alb: TestAlb):
    assert client.get("/admin/report", headers=alb.mint_headers(roles=["admin"])).status_code == 200
    refused = client.get("/admin/report", headers=alb.mint_headers(roles=["brewers"]))
    assert error_of(refused) == (403, "insufficient_scope")


def test_without_a_token_there_is_a_challenge(client: httpx2.Client):
    refused = client.get("/me")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="plan-b"')


WRONG_TOKENS: dict[str, dict[str, Any]] = {
    "an ID token in its place": {"token_use": "id"},
    "of another client": {"client_id": "stranger"},
    "expired": {"exp": 1},
    "of another pool": {"iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Other"},
}


@pytest.mark.parametrize("claims", WRONG_TOKENS.values(), ids=WRONG_TOKENS)
def test_a_wrong_access_token_is_refused(client: httpx2.Client, alb: TestAlb, pool: TestIssuer, claims: dict[str, Any]):
    headers = {**dict(alb.mint_headers()), "x-amzn-oidc-accesstoken": pool.mint(claims=claims)}
    assert error_of(client.get("/me", headers=headers)) == (401, "invalid_token")


def test_another_load_balancer_is_refused(client: httpx2.Client, alb: TestAlb, published: dict[str, Any]):
    other = TestAlb(alb.issuer, client_id=CLIENT, peer=PEER, arn=alb.arn.replace("1111", "9999"))
    publish(other, published)
    assert error_of(client.get("/me", headers=other.mint_headers())) == (401, "invalid_token")


def test_a_header_twice_is_refused(client: httpx2.Client, alb: TestAlb):
    headers = alb.mint_headers()
    assert error_of(client.get("/me", headers=[*headers, headers[0]])) == (400, "invalid_request")


def test_the_headers_are_not_believed_from_elsewhere(
    server, cognito: dict[str, str], behind: dict[str, str], alb: TestAlb, pool: TestIssuer
):
    settings = {**cognito, **behind, "TRUSTED_PEERS": "10.0.32.0/20"}
    with server(settings) as url, httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
        forged = [*alb.mint_headers(), ("X-Forwarded-For", "10.0.32.7")]
        assert error_of(client.get("/me", headers=forged)) == (401, "invalid_token")
        bearer = {"Authorization": f"Bearer {pool.mint(subject='service')}"}
        assert client.get("/me", headers=bearer).json()["subject"] == "service"


def test_a_service_needs_the_certificate_that_its_token_is_bound_to(client: httpx2.Client, pool: TestIssuer):
    own, other = TestCertificate("stock"), TestCertificate("stock")
    token = {"Authorization": f"Bearer {pool.mint(subject='stock', bound_to=own)}"}
    rules = ClientCertificates.nginx([PEER])
    assert client.get("/me", headers={**token, **own.headers(rules)}).json()["subject"] == "stock"
    assert error_of(client.get("/me", headers={**token, **other.headers(rules)})) == (401, "invalid_token")
    assert error_of(client.get("/me", headers=token)) == (401, "invalid_token")
