"""What any stranger may send: methods, media types, sizes, encodings, hosts, origins. Nothing may answer 500."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import pytest
from packages.tegata.tests.acceptance.contract import Dev, Tenant, User
from packages.tegata.tests.acceptance.relying_party import Browser, Party, RelyingParty, refusal, success

FORM = "application/x-www-form-urlencoded"
POSTED = ("token", "introspection", "revocation")
VISITED = ("authorization", "end_session")
ORIGIN = "https://spa.example"


def authenticated(web: RelyingParty) -> dict[str, str]:
    return web.credentials({})[1] | {"content-type": FORM}


# Methods: RFC 9110 §15.5.6


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("endpoint", POSTED)
def test_wrong_method_at_the_back_channel(web: RelyingParty, endpoint: str, method: str) -> None:
    answer = web.http.request(method, web.endpoint(endpoint))
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    assert "GET" not in answer.headers["allow"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("endpoint", [*VISITED, "userinfo"])
def test_wrong_method_at_endpoints_with_get_and_post(web: RelyingParty, endpoint: str, method: str) -> None:
    answer = web.http.request(method, web.endpoint(endpoint))
    assert answer.status_code == 405
    assert {"GET", "POST"} <= {word.strip() for word in answer.headers["allow"].split(",")}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/jwks", "/.well-known/openid-configuration"])
def test_wrong_method_at_documents(demo: Tenant, web: RelyingParty, path: str, method: str) -> None:
    answer = web.http.request(method, demo.issuer + path)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/jwks", "/.well-known/openid-configuration"])
def test_head_answers_like_get_without_a_body(demo: Tenant, web: RelyingParty, path: str) -> None:
    """RFC 9110 §9.3.2."""
    answer = web.http.head(demo.issuer + path)
    assert answer.status_code == 200
    assert answer.content == b""


# Bodies


@pytest.mark.parametrize("media", ["application/json", "text/plain", "multipart/form-data; boundary=x", "x", ""])
@pytest.mark.parametrize("endpoint", POSTED)
def test_wrong_content_type_is_an_invalid_request(web: RelyingParty, endpoint: str, media: str) -> None:
    """RFC 6749 §3.2, App. B: form encoding and nothing else."""
    headers = authenticated(web) | {"content-type": media}
    answer = web.http.post(web.endpoint(endpoint), content=b'{"grant_type":"client_credentials"}', headers=headers)
    assert answer.status_code in {400, 415}
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("media", [FORM + "; charset=UTF-8", FORM.upper(), FORM + ";charset=utf-8"])
def test_usual_spellings_of_the_content_type_work(party: Party, media: str) -> None:
    service = party("demo", "service")
    form, headers = service.credentials({"grant_type": "client_credentials"})
    body = "&".join(f"{name}={value}" for name, value in form.items())
    success(service.http.post(service.endpoint("token"), content=body, headers=headers | {"content-type": media}))


HOSTILE = {
    "NUL": b"grant_type=refresh_token&refresh_token=a%00b",
    "raw NUL": b"grant_type=refresh_token&refresh_token=a\x00b",
    "NUL in a name": b"grant%00_type=refresh_token",
    "invalid UTF-8": b"grant_type=refresh_token&refresh_token=%ff%fe",
    "raw invalid UTF-8": b"grant_type=refresh_token&refresh_token=\xff\xfe",
    "surrogate": b"grant_type=refresh_token&refresh_token=%ed%a0%80",
    "overlong UTF-8": b"grant_type=refresh_token&refresh_token=%c0%af",
    "control characters": b"grant_type=refresh_token&refresh_token=%0d%0aSet-Cookie:x",
    "broken percent": b"grant_type=refresh_token&refresh_token=%&x=%zz&y=%1",
    "10,000 parameters": b"&".join(b"p%d=1" % number for number in range(10_000)),
    "10,000 separators": b"&" * 10_000,
    "long name": b"a" * 60_000 + b"=1",
    "no equals sign": b"grant_type",
    "nothing": b"",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("endpoint", POSTED)
def test_hostile_bodies_are_client_errors(web: RelyingParty, endpoint: str, body: bytes) -> None:
    """P41."""
    answer = web.http.post(web.endpoint(endpoint), content=body, headers=authenticated(web))
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"] in {"invalid_request", "invalid_grant", "unsupported_grant_type"}


@pytest.mark.parametrize("endpoint", [*POSTED, *VISITED, "userinfo"])
def test_oversized_bodies_are_refused(web: RelyingParty, endpoint: str) -> None:
    """RFC 9110 §15.5.14."""
    answer = web.http.post(web.endpoint(endpoint), content=b"token=" + b"a" * 3_000_000, headers=authenticated(web))
    assert answer.status_code in {400, 401, 413}


def test_oversized_chunked_bodies_are_refused(web: RelyingParty) -> None:
    """The same without a Content-Length to look at."""
    chunks = (b"a" * 65_536 for _ in range(48))
    answer = web.http.post(web.endpoint("token"), content=chunks, headers=authenticated(web))
    assert answer.status_code in {400, 413}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("endpoint", VISITED)
def test_hostile_posts_of_a_browser_never_break_a_page(web: RelyingParty, endpoint: str, body: bytes) -> None:
    answer = web.http.post(web.endpoint(endpoint), content=body, headers={"content-type": FORM})
    assert answer.status_code < 500, answer.text
    if endpoint == "authorization":
        assert 400 <= answer.status_code < 500


QUERIES = [
    "client_id=%00",
    "client_id=%ff",
    "client_id=demo-web&redirect_uri=%00",
    "client_id=demo-web&redirect_uri=http%3A%2F%2F127.0.0.1%3A9000%2Fcallback&state=%00&response_type=code",
    "client_id=demo-web&scope=" + "a+" * 5000,
    "client_id=" + "a" * 20_000,
    "%=%&=&&&",
    "&".join(f"p{number}=1" for number in range(2000)),
    "client_id[]=a&client_id[$ne]=b",
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:40])
@pytest.mark.parametrize("endpoint", VISITED)
def test_hostile_queries_never_break_a_page(web: RelyingParty, endpoint: str, query: str) -> None:
    answer = web.http.get(web.endpoint(endpoint) + "?" + query)
    assert answer.status_code < 500, answer.text
    if endpoint == "authorization":
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "path",
    [
        "/%00/authorize",
        "/%ff/authorize",
        "/demo/%00",
        "/demo/../other/jwks",
        "/demo%2f..%2fother/jwks",
        "/demo/jwks%00",
        "//demo/jwks",
        "/" + "a" * 5000 + "/jwks",
        "/DEMO/jwks",
        "/demo /jwks",
        "/手形/jwks",
        "/static/../../etc/passwd",
        "/static/..%2f..%2f..%2fetc/passwd",
        "/demo/jwks;a=b",
    ],
)
def test_odd_paths_are_client_errors(dev: Dev, path: str) -> None:
    """Sent as they stand: a client library would tidy them."""
    answer = raw(
        dev, f"GET {path} HTTP/1.1\r\nHost: {urlsplit(dev.base_url).netloc}\r\nConnection: close\r\n\r\n".encode()
    )
    assert 400 <= status_of(answer) < 500
    assert b"root:" not in answer


@pytest.mark.parametrize("size", [30_000, 200_000])
def test_oversized_headers_are_client_errors(web: RelyingParty, size: int) -> None:
    """P123."""
    answer = web.http.post(
        web.endpoint("token"), data={"grant_type": "x"}, headers={"authorization": "Basic " + "A" * size}
    )
    assert 400 <= answer.status_code < 500


def test_broken_http_is_a_client_error(dev: Dev) -> None:
    for request in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n b\r\n\r\n"):
        answer = raw(dev, request)
        assert answer == b"" or 400 <= status_of(answer) < 500


# Host and forwarding headers


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"x-forwarded-host": "evil.example"},
        {"forwarded": "host=evil.example;proto=https"},
        {"x-forwarded-proto": "https", "x-forwarded-prefix": "/evil.example"},
        {"x-original-url": "/evil.example", "x-rewrite-url": "/evil.example"},
    ],
)
def test_host_headers_do_not_change_what_the_server_says(web: RelyingParty, headers: dict[str, str]) -> None:
    """The issuer and every address come from the configuration."""
    answer = web.http.get(web.tenant.issuer + "/.well-known/openid-configuration", headers=headers)
    if "host" in headers and 400 <= answer.status_code < 500:
        return
    assert success(answer) == web.metadata
    page = web.http.get(web.attempt().url, headers=headers)
    assert "evil.example" not in page.text + str(page.headers)


# Caching, CORS, security headers


@pytest.mark.parametrize("path", ["/jwks", "/.well-known/openid-configuration"])
def test_public_documents_may_be_cached_and_read_from_anywhere(demo: Tenant, web: RelyingParty, path: str) -> None:
    answer = web.http.get(demo.issuer + path, headers={"origin": ORIGIN})
    assert "max-age=" in answer.headers["cache-control"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"].startswith("application/")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("endpoint", ["token", "userinfo", "revocation"])
def test_pages_of_other_origins_may_call_what_public_clients_need(web: RelyingParty, endpoint: str) -> None:
    """CORS: a preflight answers, credentials (cookies) are never allowed."""
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    answer = web.http.options(web.endpoint(endpoint), headers=asked)
    assert answer.status_code in {200, 204}
    assert answer.headers["access-control-allow-origin"] in {"*", ORIGIN}
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert answer.headers.get("access-control-allow-credentials") != "true"


def test_errors_can_be_read_across_origins_too(party: Party) -> None:
    """Otherwise a browser client sees a network failure instead of invalid_grant."""
    spa = party("demo", "spa")
    form, _ = spa.credentials({"grant_type": "refresh_token", "refresh_token": "x"})
    answer = spa.http.post(spa.endpoint("token"), data=form, headers={"origin": ORIGIN})
    refusal(answer, "invalid_grant")
    assert answer.headers["access-control-allow-origin"] in {"*", ORIGIN}
    lost = spa.http.get(spa.endpoint("userinfo"), headers={"origin": ORIGIN})
    assert lost.headers["access-control-allow-origin"] in {"*", ORIGIN}


@pytest.mark.parametrize("endpoint", VISITED)
def test_pages_are_not_readable_across_origins(web: RelyingParty, endpoint: str) -> None:
    """Core §3.1.2.1: a browser is sent there; no script of another origin reads it."""
    answer = web.http.get(web.endpoint(endpoint), headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers


def test_pages_carry_their_protection(web: RelyingParty, user: User, browser: Browser) -> None:
    """RFC 9700 §4.16 (clickjacking) and a policy without inline script."""
    answer = browser.http.get(web.attempt(prompt="login").url, follow_redirects=True)
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["referrer-policy"] in {"no-referrer", "same-origin", "strict-origin"}


def test_cookies_are_out_of_reach_of_scripts_and_foreign_sites(web: RelyingParty, user: User, browser: Browser) -> None:
    made: list[str] = []
    browser.http.event_hooks["response"].append(lambda answer: made.extend(answer.headers.get_list("set-cookie")))
    web.tokens(browser, user)
    assert made
    for cookie in made:
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower() or "samesite=strict" in cookie.lower()


def test_pages_never_load_anything_from_elsewhere(web: RelyingParty, browser: Browser) -> None:
    answer = browser.http.get(web.attempt(prompt="login").url, follow_redirects=True)
    for address in ('src="http', 'href="http', "//cdn", "@import"):
        assert address not in answer.text.replace(web.tenant.issuer, "")


def raw(dev: Dev, request: bytes) -> bytes:
    """Send bytes, and give what comes back until the server closes; it waits for 20 s where more could come."""
    parts = urlsplit(dev.base_url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=60) as connection:
        connection.sendall(request)
        received = b""
        try:
            while part := connection.recv(65_536):
                received += part
        except (TimeoutError, ConnectionResetError):
            pass
    return received


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1."), answer[:80]
    status = int(answer.split(b" ", 2)[1])
    assert status in http.client.responses
    return status
