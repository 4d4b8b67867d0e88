"""The address space: every path has one meaning, every method is allowed or refused, and CORS is where it may be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.api.errors import render_json
from tegata.api.http import Request, Response, json_response
from tegata.api.routes import Route, Router, _split
from tegata.crypto.envelope import Envelope
from tegata.flows.directory import Directory, LoadedTenant
from tegata.identifiers import TenantId
from tegata.protocol.errors import OAuthError, Refused
from tegata.protocol.policy import TenantPolicy
from tegata.storage.errors import Unavailable
from tegata.storage.records import TenantRecord
from tegata.testing.memory import MemoryStorage

pytestmark = pytest.mark.anyio

Call = Callable[..., Awaitable[tuple[int, dict[bytes, bytes], bytes]]]
METADATA = ".well-known/openid-configuration"


async def at_tenant(request: Request, loaded: LoadedTenant) -> Response:
    return json_response({"tenant": loaded.tenant.name, "method": request.method})


async def away(_request: Request, _loaded: LoadedTenant) -> Response:
    raise Unavailable("down")


async def plain(request: Request) -> Response:
    return json_response({"plain": request.path, "address": request.origin.address, "id": request.origin.request_id})


async def broken(_request: Request) -> Response:
    raise ValueError("internal detail")


def render_page(_request: Request, error: OAuthError | Refused) -> Response:
    return Response(error.status, b"<html>" + error.reason.encode())


ENDPOINTS = {
    "token": Route({"POST": at_tenant}, render_json, cross_origin=True),
    "authorize": Route({"GET": at_tenant, "POST": at_tenant}, render_page),
    "authorize/resume": Route({"GET": at_tenant}, render_page),
    "jwks": Route({"GET": at_tenant}, render_json, cross_origin=True),
    "down": Route({"GET": away}, render_json, cross_origin=True),
    METADATA: Route({"GET": at_tenant}, render_json, cross_origin=True),
}


@pytest.fixture(scope="module")
async def call() -> Call:
    storage = MemoryStorage()
    await storage.create_tenant(TenantRecord(TenantId(UUID(int=1)), "demo", TenantPolicy(), b"s"), events=[])
    directory = Directory(storage, Envelope([b"k" * 32]), lambda: 1.0, base_url="https://id.example")
    router = Router(
        directory,
        ENDPOINTS,
        {"/livez": plain, "/broken": broken, "/": plain},
        {"/static/": plain},
        render=render_page,
        trusted_proxies=(ip_network("10.0.0.0/8"),),
        security_headers=((b"strict-transport-security", b"max-age=1"),),
    )

    async def call(method: str, path: str, **more: Any) -> tuple[int, dict[bytes, bytes], bytes]:
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            messages.append(message)

        scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
        await router({**scope, "client": ("192.0.2.7", 1), **more}, receive, send)
        start, body = messages
        return start["status"], dict(start["headers"]), body["body"]

    return call


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/demo/token"),
        ("GET", "/demo/authorize"),
        ("POST", "/demo/authorize"),
        ("GET", "/demo/authorize/resume"),
        ("GET", f"/demo/{METADATA}"),
        ("GET", "/.well-known/openid-configuration/demo"),
        ("GET", "/livez"),
        ("GET", "/"),
        ("GET", "/static/app.css"),
    ],
)
async def test_a_path_is_answered(call: Call, method: str, path: str) -> None:
    status, headers, body = await call(method, path)
    assert status == 200
    assert body.startswith((b'{"tenant":"demo"', b'{"plain"'))
    assert headers[b"strict-transport-security"] == b"max-age=1"


async def test_both_well_known_forms_are_one_document(call: Call) -> None:
    """RFC 8414 §3.1, OIDC Discovery §4."""
    assert await call("GET", f"/demo/{METADATA}") == await call("GET", f"/{METADATA}/demo")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "//",
        "/demo",
        "/demo/",
        "/demo/unknown",
        "/demo/token/",
        "/demo//token",
        "//demo/token",
        "/demo/Token",
        "/demo/../demo/token",
        "/demo/./token",
        "/livez/",
        "/livez/x",
        "/static",
        "/.well-known",
        "/.well-known/",
        "/.well-known/token/demo",
        "/.well-known/unknown/demo",
        "/demo/.well-known/unknown",
        "/demo/.well-known/token",
        "/unknown",
        "/demo\x00/x",
    ],
)
async def test_any_other_path_is_404_as_a_page(call: Call, path: str) -> None:
    status, _, body = await call("GET", path)
    assert (status, body) == (404, b"<html>not_found")


@pytest.mark.parametrize("raw", [b"/demo%2Fjwks", b"/demo%2fjwks", b"%2fdemo/jwks", b"/livez%2f"])
async def test_an_encoded_slash_separates_nothing(call: Call, raw: bytes) -> None:
    """RFC 3986 §2.2: or a proxy that guards a path would not see it."""
    path = raw.lower().replace(b"%2f", b"/").decode()
    assert (await call("GET", path, raw_path=raw))[0] == 404
    assert (await call("GET", "/demo/jwks", raw_path=b"/demo/jwk%73"))[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/other/jwks",
        "//jwks",
        "/DEMO/jwks",
        "/demo /jwks",
        "/demo\x00/jwks",
        "/\ud800/jwks",
        f"/{METADATA}",
        f"/{METADATA}/",
        f"/{METADATA}/other",
        f"/{METADATA}/demo/",
        f"/{METADATA}/demo/x",
        f"/{METADATA}//demo",
    ],
)
async def test_an_unknown_tenant_is_404_in_the_form_of_the_endpoint(call: Call, path: str) -> None:
    status, headers, body = await call("GET", path)
    assert status == 404
    assert b'"error":"not_found"' in body
    assert headers[b"access-control-allow-origin"] == b"*"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/demo/token", {b"POST"}),
        ("HEAD", "/demo/token", {b"POST"}),
        ("DELETE", "/demo/token", {b"POST"}),
        ("PUT", "/demo/authorize", {b"GET", b"POST", b"HEAD"}),
        ("OPTIONS", "/demo/authorize", {b"GET", b"POST", b"HEAD"}),
        ("POST", "/demo/jwks", {b"GET", b"HEAD"}),
        ("POST", "/livez", {b"GET", b"HEAD"}),
        ("OPTIONS", "/livez", {b"GET", b"HEAD"}),
        ("get", "/demo/jwks", {b"GET", b"HEAD"}),
        ("BREW", "/static/x", {b"GET", b"HEAD"}),
    ],
)
async def test_another_method_is_405_with_those_that_are_allowed(
    call: Call, method: str, path: str, allow: set[bytes]
) -> None:
    """RFC 9110 §15.5.6."""
    status, headers, _ = await call(method, path)
    assert status == 405
    assert set(headers[b"allow"].split(b", ")) == allow


async def test_head_is_get_without_its_body(call: Call) -> None:
    status, headers, body = await call("HEAD", "/demo/jwks")
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 0
    assert (await call("HEAD", "/livez"))[::2] == (200, b"")


@pytest.mark.parametrize(
    ("path", "method"), [("/demo/token", b"POST"), ("/demo/jwks", b"GET"), (f"/{METADATA}/demo", b"GET")]
)
async def test_a_preflight_is_answered_where_other_origins_may_ask(call: Call, path: str, method: bytes) -> None:
    status, headers, body = await call("OPTIONS", path, headers=[(b"origin", b"https://spa.example")])
    assert (status, body) == (204, b"")
    assert b"content-length" not in headers
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in headers
    assert method in headers[b"access-control-allow-methods"].split(b", ")
    assert b"authorization" in headers[b"access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    ("method", "path", "shared"),
    [
        ("POST", "/demo/token", True),
        ("GET", "/demo/jwks", True),
        ("GET", "/demo/down", True),
        ("GET", "/demo/authorize", False),
        ("POST", "/demo/authorize", False),
        ("GET", "/livez", False),
        ("GET", "/static/x", False),
        ("GET", "/demo/unknown", False),
    ],
)
async def test_other_origins_may_read_the_back_channel_and_no_page(
    call: Call, method: str, path: str, shared: bool
) -> None:
    _, headers, _ = await call(method, path, headers=[(b"origin", b"https://spa.example")])
    assert (b"access-control-allow-origin" in headers) is shared
    if shared:
        assert b"WWW-Authenticate" in headers[b"access-control-expose-headers"]
        assert b"access-control-allow-credentials" not in headers


async def test_a_store_that_is_away_is_503_for_other_origins_too(call: Call) -> None:
    status, headers, _ = await call("GET", "/demo/down")
    assert status == 503
    assert headers[b"retry-after"]


async def test_a_fault_behind_a_plain_path_is_a_page_without_detail(call: Call) -> None:
    status, headers, body = await call("GET", "/broken")
    assert (status, body) == (500, b"<html>unexpected")
    assert b"strict-transport-security" in headers


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"query_string": b"x" * 30_000}, 414),
        ({"raw_path": b"/" + b"x" * 3000}, 414),
        ({"headers": [(b"a", b"x" * 40_000)]}, 431),
    ],
)
async def test_an_oversized_head_is_refused_with_the_same_security_headers(
    call: Call, more: dict[str, Any], status: int
) -> None:
    found, headers, _ = await call("GET", "/livez", **more)
    assert found == status
    assert b"strict-transport-security" in headers


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        (("192.0.2.7", 1), b"203.0.113.1", "192.0.2.7"),
        (("10.0.0.1", 1), b"203.0.113.1", "203.0.113.1"),
        (("10.0.0.1", 1), b"\xff\xfe", "10.0.0.1"),
        (None, b"203.0.113.1", None),
    ],
)
async def test_the_origin_is_what_trusted_proxies_say(
    call: Call, client: Any, forwarded: bytes, address: str | None
) -> None:
    _, _, body = await call("GET", "/livez", client=client, headers=[(b"x-forwarded-for", forwarded)])
    assert (b'"address":null' if address is None else f'"address":"{address}"'.encode()) in body


async def test_every_request_has_an_id_of_its_own(call: Call) -> None:
    assert len({(await call("GET", "/livez"))[2] for _ in range(5)}) == 5


@given(
    st.text()
    | st.lists(st.sampled_from(["", "demo", ".well-known", "token", "openid-configuration", "..", "%2e"])).map("/".join)
)
@example("")
@example("/.well-known")
def test_any_path_has_a_tenant_and_an_endpoint(path: str) -> None:
    tenant, endpoint = _split(path)
    assert isinstance(tenant, str)
    if endpoint in ENDPOINTS and "/" in tenant:
        assert endpoint.startswith(".well-known/")


async def test_any_method_on_any_path_is_answered(call: Call) -> None:
    """Not one of them is a fault."""
    paths = [
        "",
        "/",
        "//",
        "/demo",
        "/demo/token",
        "/.well-known/x/y/z",
        "/\x00/token",
        "/\ud800/\udfff",
        "*",
        "é" * 100,
    ]
    for path in paths:
        for method in ("GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "", "é"):
            status, _, _ = await call(method, path)
            assert status in {200, 204, 404, 405}, (method, path)
