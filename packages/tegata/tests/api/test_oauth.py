"""The back channel: where parameters belong, and public documents that caches may keep."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from tegata.api.http import Request, Response
from tegata.api.oauth import OAuthEndpoints
from tegata.flows.directory import LoadedTenant, encode
from tegata.identifiers import TenantId
from tegata.protocol.errors import OAuthError
from tegata.protocol.policy import Tenant, TenantPolicy
from tegata.telemetry.audit import Origin

pytestmark = pytest.mark.anyio

ISSUER = "https://id.example/demo"
LOADED = LoadedTenant(
    Tenant(TenantId(UUID(int=1)), "demo", ISSUER, TenantPolicy(), b"s"),
    {},
    (),
    encode({"keys": []}),
    encode({"issuer": ISSUER}),
)
# What is tested here ends before any service is asked.
ROUTES = OAuthEndpoints(None).routes()  # type: ignore[arg-type]
FORM = (b"content-type", b"application/x-www-form-urlencoded")


async def ask(path: str, method: str, *headers: tuple[bytes, bytes], query: bytes = b"", body: bytes = b"") -> Response:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    scope = {"method": method, "path": f"/demo/{path}", "query_string": query, "headers": list(headers)}
    return await ROUTES[path].methods[method](Request(scope, receive, Origin(None, "r")), LOADED)


DOCUMENTS = [
    ("jwks", b"application/jwk-set+json"),
    (".well-known/openid-configuration", b"application/json"),
    (".well-known/oauth-authorization-server", b"application/json"),
]


@pytest.mark.parametrize(("path", "media_type"), DOCUMENTS)
async def test_a_public_document_may_be_kept_and_asked_for_again(path: str, media_type: bytes) -> None:
    response = await ask(path, "GET")
    headers = dict(response.headers)
    assert response.status == 200
    assert headers[b"content-type"] == media_type
    assert headers[b"cache-control"].startswith(b"public, max-age=")
    again = await ask(path, "GET", (b"if-none-match", headers[b"etag"]))
    assert (again.status, again.body) == (304, b"")
    assert dict(again.headers)[b"etag"] == headers[b"etag"]
    listed = await ask(path, "GET", (b"if-none-match", b'"x", W/' + headers[b"etag"]))
    assert listed.status == 304
    assert (await ask(path, "GET", (b"if-none-match", b'"other"'))).status == 200


async def test_both_metadata_addresses_are_one_document() -> None:
    """Pitfalls P33."""
    first, second = [(await ask(path, "GET")).body for path, _ in DOCUMENTS[1:]]
    assert first == second == LOADED.metadata.body


@pytest.mark.parametrize("path", ["token", "introspect", "revoke"])
async def test_parameters_in_the_address_are_refused(path: str) -> None:
    """RFC 6749 §2.3.1: not in the URI."""
    with pytest.raises(OAuthError) as refused:
        await ask(path, "POST", FORM, query=b"client_secret=hush", body=b"grant_type=x")
    assert refused.value.reason == "parameters_in_query"


@pytest.mark.parametrize("path", ["token", "introspect", "revoke"])
async def test_a_body_that_is_no_form_is_refused(path: str) -> None:
    with pytest.raises(OAuthError) as refused:
        await ask(path, "POST", (b"content-type", b"application/json"), body=b"{}")
    assert refused.value.reason == "content_type"


@pytest.mark.parametrize(
    ("headers", "query", "body", "status", "error"),
    [
        pytest.param([], b"", b"", 401, None, id="no token"),
        pytest.param([(b"authorization", b"Basic YTpi")], b"", b"", 401, None, id="another scheme"),
        pytest.param([], b"access_token=x", b"", 400, "invalid_request", id="a token in the address"),
        pytest.param([(b"authorization", b"Bearer x")] * 2, b"", b"", 400, "invalid_request", id="two headers"),
        pytest.param([(b"authorization", b"Bearer \xff")], b"", b"", 400, "invalid_request", id="no ASCII"),
        pytest.param(
            [FORM, (b"authorization", b"Bearer x")], b"", b"access_token=x", 400, "invalid_request", id="two places"
        ),
        pytest.param([FORM], b"", b"\xc3\xa9=1&\xc3\xa9=2", 400, "invalid_request", id="a repeat with an accent"),
        pytest.param([FORM], b"", b"a=%00", 400, "invalid_request", id="NUL"),
    ],
)
async def test_userinfo_answers_with_a_challenge(
    headers: list[tuple[bytes, bytes]], query: bytes, body: bytes, status: int, error: str | None
) -> None:
    """RFC 6750 §3, §3.1."""
    response = await ask("userinfo", "POST", *headers, query=query, body=body)
    challenge = dict(response.headers)[b"www-authenticate"].decode("ascii")
    assert response.status == status
    assert challenge.startswith(f'Bearer realm="{ISSUER}"')
    assert ("error=" in challenge) is (error is not None)
    if error is not None:
        assert f'error="{error}"' in challenge
        assert json.loads(response.body)["error"] == error


async def test_a_body_that_is_too_large_keeps_its_own_status_at_userinfo() -> None:
    with pytest.raises(OAuthError) as refused:
        await ask("userinfo", "POST", FORM, body=b"x" * 70_000)
    assert refused.value.status == 413


def test_every_endpoint_answers_other_origins() -> None:
    assert all(route.cross_origin for route in ROUTES.values())
