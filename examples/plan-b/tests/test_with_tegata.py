"""The same application behind Cognito and behind a running Tegata: nothing but its environment differs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import uvicorn
from anyio.from_thread import start_blocking_portal

from tegata.testing.relying_party import Browser, RelyingParty, claims_of
from tegata.testing.server import API, Server, serving
from tegata_verify.issuers import Cognito
from tegata_verify.testing import TestAlb, TestIssuer

POOL, CLIENT, PEER = "eu-central-1_AbCdEfGhI", "1example23456789", "127.0.0.1"
# Load balancers send no code challenge (AWS, "Authenticate users using an Application Load Balancer").
TEGATA_CLIENT = "legacy"


@dataclass(slots=True)
class Behind:
    """The running application, and who logs its users in."""

    url: str
    alb: TestAlb
    token: str = field(repr=False)
    subject: str

    def ask(self, path: str, token: str) -> httpx2.Response:
        return httpx2.get(
            f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60
        )

    def visit(self, path: str, token: str) -> httpx2.Response:
        """Ask as the load balancer does."""
        headers = {
            "x-amzn-oidc-accesstoken": token,
            "x-amzn-oidc-identity": self.subject,
            "x-amzn-oidc-data": self.alb.mint_data(subject=self.subject, claims={"email": "taro@example.com"}),
        }
        return httpx2.get(f"{self.url}{path}", headers=headers, trust_env=False, timeout=60)


async def log_in(server: Server) -> str:
    """Return the access token that a load balancer gets for a member of the group admin."""
    server.clock.now = time.time()
    await server.put_user("taro", roles=("admin",))
    await server.change_policy(access_token_claims={"roles": "roles"})
    front = RelyingParty(server, TEGATA_CLIENT)
    answer = await front.authorize(
        Browser(server), code_challenge=None, code_challenge_method=None, nonce=None, scope="openid read", resource=API
    )
    reply = await front.redeem(answer["code"], code_verifier=None)
    return str(reply.json["access_token"])


@pytest.fixture(scope="module")
def tegata() -> Iterator[tuple[str, str]]:
    """The issuer of a Tegata that answers on loopback, and an access token of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening, start_blocking_portal() as portal:
        base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with portal.wrap_async_context_manager(serving(base_url=base_url, allow_insecure_base_url=True)) as server:
            web = uvicorn.Server(uvicorn.Config(server.app, log_level="warning", lifespan="off"))
            serves = portal.start_task_soon(web.serve, [listening])
            yield server.tenants["acme"].issuer, portal.call(log_in, server)
            web.should_exit = True
            serves.result(60)


@pytest.fixture(scope="module")
def both(server, base: str, published: dict[str, Any], tegata: tuple[str, str]) -> Iterator[dict[str, Behind]]:
    """The application twice."""
    pool = TestIssuer.of(Cognito("eu-central-1", POOL, client_ids=[CLIENT]))
    published[f"/{POOL}/.well-known/jwks.json"] = pool.jwks()
    issuer, token = tegata
    tokens = {"cognito": pool.mint(subject="ann", roles=["admin"]), "tegata": token}
    issuers = {"cognito": pool, "tegata": TestIssuer(issuer)}
    clients = {"cognito": CLIENT, "tegata": TEGATA_CLIENT}
    settings = {
        "cognito": {
            "COGNITO_USER_POOL_ID": POOL,
            "COGNITO_REGION": "eu-central-1",
            "COGNITO_APP_CLIENT_ID": CLIENT,
            "COGNITO_ENDPOINT_URL": base,
        },
        "tegata": {"TEGATA_ISSUER": issuer, "TEGATA_AUDIENCE": API, "TEGATA_CLIENT_ID": TEGATA_CLIENT},
    }
    with ExitStack() as stack:
        running = {}
        for name, environment in settings.items():
            alb = TestAlb(issuers[name], client_id=clients[name], peer=PEER)
            published[f"/alb/{alb.kid}"] = alb.find_published(alb.key_url)
            behind = {
                "ALB_ARNS": alb.arn,
                "ALB_KEY_URL": f"{base}/alb/{{kid}}",
                "TRUSTED_PEERS": f"{PEER}/32",
                "FORWARDED_ALLOW_IPS": "none",
                "ALLOW_LOOPBACK_HTTP": "1",
            }
            url = stack.enter_context(server({**behind, **environment}))
            running[name] = Behind(url, alb, tokens[name], claims_of(tokens[name])["sub"])
        yield running


@pytest.mark.parametrize(("here", "elsewhere"), [("cognito", "tegata"), ("tegata", "cognito")])
def test_the_token_of_its_own_issuer_is_taken_and_the_others_is_refused(
    both: dict[str, Behind], here: str, elsewhere: str
):
    own, other = both[here], both[elsewhere]
    assert own.ask("/me", own.token).json()["subject"] == own.subject
    assert own.ask("/admin/report", own.token).json() == {"written_for": own.subject, "batches": 7}
    for path in ("/me", "/admin/report"):
        refused = own.ask(path, other.token)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")


@pytest.mark.parametrize(("here", "elsewhere"), [("cognito", "tegata"), ("tegata", "cognito")])
def test_behind_the_load_balancer_too(both: dict[str, Behind], here: str, elsewhere: str):
    own, other = both[here], both[elsewhere]
    assert own.visit("/me", own.token).json()["email"] == "taro@example.com"
    assert own.visit("/admin/report", own.token).status_code == 200
    assert own.visit("/me", other.token).status_code == 401
