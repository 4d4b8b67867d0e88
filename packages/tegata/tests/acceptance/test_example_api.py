"""The example API behind `tegata-verify`: scopes and roles of the `demo` tenant decide (seed 002)."""

from __future__ import annotations

import httpx2
import pytest

from .contract import Dev, Tenant, User
from .relying_party import Browser, Party, RelyingParty, bearer

WRITERS = ("researcher", "developer", "admin")


def call(
    dev: Dev, web: RelyingParty, browser: Browser, user: User, scope: str
) -> tuple[httpx2.Response, httpx2.Response]:
    """Read and write with one token."""
    token = web.tokens(browser, user, scope=scope)["access_token"]
    api = dev.base_url + "/example-api/experiments"
    body = {"title": "麹 42"}
    return web.http.get(api, headers=bearer(token)), web.http.post(api, headers=bearer(token), json=body)


@pytest.mark.parametrize("role", ["researcher", "developer", "evaluator", "viewer", "admin"])
def test_roles_decide_who_writes(dev: Dev, demo: Tenant, web: RelyingParty, browser: Browser, role: str) -> None:
    user = demo.user_with(role)
    read, written = call(dev, web, browser, user, "openid read write")
    assert read.status_code == 200
    assert written.status_code == (201 if set(user.roles) & set(WRITERS) else 403)


def test_scope_decides_even_for_a_role_that_may(dev: Dev, demo: Tenant, web: RelyingParty, browser: Browser) -> None:
    read, written = call(dev, web, browser, demo.user_with("researcher"), "openid read")
    assert (read.status_code, written.status_code) == (200, 403)


def test_whoami_says_who(dev: Dev, demo: Tenant, web: RelyingParty, browser: Browser) -> None:
    token = web.tokens(browser, demo.users[0])["access_token"]
    answer = web.http.get(dev.base_url + "/example-api/whoami", headers=bearer(token))
    assert answer.status_code == 200
    assert answer.json()["subject"] == web.verify(token)["sub"]


@pytest.mark.parametrize("token", ["", "x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."])
def test_no_or_broken_token_is_challenged(dev: Dev, web: RelyingParty, token: str) -> None:
    headers = bearer(token) if token else {}
    answer = web.http.get(dev.base_url + "/example-api/whoami", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_id_token_is_refused(dev: Dev, web: RelyingParty, browser: Browser, user: User) -> None:
    """RFC 9068 §4: the type is checked."""
    id_token = web.tokens(browser, user)["id_token"]
    assert web.http.get(dev.base_url + "/example-api/whoami", headers=bearer(id_token)).status_code == 401


def test_service_reads_with_its_own_scope(dev: Dev, party: Party) -> None:
    service = party("demo", "service")
    token = service.token(grant_type="client_credentials", scope="read").json()["access_token"]
    answer = service.http.get(dev.base_url + "/example-api/experiments", headers=bearer(token))
    assert answer.status_code == 200
