"""Calls through httpx2 and requests: who gets the token, and when a call is made a second time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import ssl
from collections.abc import Callable, Iterator

import httpx2
import jwt
import pytest
import requests
from joserfc.jwk import ECKey

from tegata_verify.client import ClientCredentials, ClientSecret, DpopKey, TokenUnavailable
from tegata_verify.client.httpx2 import ServiceAuth as Httpx2Auth
from tegata_verify.client.requests import ServiceAuth as RequestsAuth

from .conftest import PATIENT

Call = Callable[..., int]
# Reading the certificate store takes longer than the call.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Chunks:
    """A body that can be read once."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"a body"


class AsyncChunks:
    async def __aiter__(self):
        yield b"a body"


def through_httpx2(source, origins, method, url, body=None) -> int:
    auth = Httpx2Auth(source, origins, allow_loopback_http=True)
    with httpx2.Client(auth=auth, follow_redirects=True, trust_env=False, timeout=60, verify=NO_TLS) as client:
        return client.request(method, url, content=body).status_code


def through_async_httpx2(source, origins, method, url, body=None) -> int:
    async def call() -> int:
        auth = Httpx2Auth(source, origins, allow_loopback_http=True)
        async with httpx2.AsyncClient(
            auth=auth, follow_redirects=True, trust_env=False, timeout=60, verify=NO_TLS
        ) as client:
            content = AsyncChunks() if isinstance(body, Chunks) else body
            return (await client.request(method, url, content=content)).status_code

    return asyncio.run(call())


def through_requests(source, origins, method, url, body=None) -> int:
    with requests.Session() as session:
        session.trust_env = False
        session.auth = RequestsAuth(source, origins, allow_loopback_http=True)
        return session.request(method, url, data=iter(body) if isinstance(body, Chunks) else body).status_code


@pytest.fixture(params=[through_httpx2, through_async_httpx2, through_requests], ids=lambda through: through.__name__)
def call(request) -> Call:
    return request.param


@pytest.fixture
def source(stand_in, time) -> ClientCredentials:
    # A refused token is replaced once in ten seconds, and how fast the tests run must not matter.
    return ClientCredentials(stand_in.where, ClientSecret("me", "s"), policy=PATIENT, surroundings=time.around)


@pytest.fixture
def refuse(said):
    def refusing(*tokens: str, challenge: str = 'Bearer realm="api", error="invalid_token"', status: int = 401):
        def answer(heard):
            if heard.token in tokens:
                return said({}, status, {"WWW-Authenticate": challenge})
            return said({"ok": True})

        return answer

    return refusing


def test_a_call_carries_the_token_and_the_next_one_the_same(call, source, stand_in, service, refuse):
    service.answers["/beers"] = refuse()
    assert [call(source, service.base, "GET", f"{service.base}/beers?page=2") for _ in range(2)] == [200, 200]
    assert [heard.token for heard in service.heard] == ["token-1", "token-1"]
    assert len(stand_in.asked) == 1


@pytest.mark.parametrize("body", [None, b"a body"])
def test_a_refused_token_is_replaced_once_and_the_call_made_again(call, source, service, refuse, body):
    service.answers["/beers"] = refuse("token-1")
    assert call(source, service.base, "POST", f"{service.base}/beers", body) == 200
    assert [heard.token for heard in service.heard] == ["token-1", "token-2"]
    assert [heard.body for heard in service.heard] == [body or b""] * 2


def test_a_second_refusal_is_the_answer(call, source, service, refuse):
    service.answers["/beers"] = refuse("token-1", "token-2", "token-3")
    for _ in range(5):
        assert call(source, service.base, "GET", f"{service.base}/beers") == 401
    assert len(service.heard) == 6  # a service that refuses every token is not asked twice each time


@pytest.mark.parametrize(
    ("challenge", "status"),
    [
        ("Bearer", 401),
        ('Bearer realm="say error=invalid_token_x"', 401),
        ('Bearer error="insufficient_user_authentication"', 401),
        ('Bearer error="insufficient_scope"', 403),
        ('Bearer error="invalid_token"', 403),
        ('Bearer error="invalid_token"', 400),
    ],
)
def test_another_refusal_is_not_repeated(call, source, stand_in, service, refuse, challenge, status):
    service.answers["/beers"] = refuse("token-1", challenge=challenge, status=status)
    assert call(source, service.base, "GET", f"{service.base}/beers") == status
    assert (len(service.heard), len(stand_in.asked)) == (1, 1)


def test_a_body_that_can_be_read_once_is_not_sent_again_but_the_token_is_replaced(call, source, service, refuse):
    service.answers["/beers"] = refuse("token-1")
    assert call(source, service.base, "PUT", f"{service.base}/beers", Chunks()) == 401
    assert len(service.heard) == 1
    assert call(source, service.base, "PUT", f"{service.base}/beers", b"a body") == 200
    assert service.heard[-1].token == "token-2"


def test_requests_winds_a_file_back(source, service, refuse):
    service.answers["/beers"] = refuse("token-1")
    body = io.BytesIO(b"head and body")
    body.seek(9)
    assert through_requests(source, service.base, "PUT", f"{service.base}/beers", body) == 200
    assert [heard.body for heard in service.heard] == [b"body", b"body"]


def test_another_host_never_gets_the_token(call, source, stand_in, service, new_stand_in, refuse, said):
    stranger = new_stand_in()
    stranger.answers["/stolen"] = lambda _: said({})
    service.answers["/beers"] = lambda _: said({}, 307, {"Location": f"{stranger.base}/stolen"})
    assert call(source, service.base, "POST", f"{service.base}/beers", b"a body") == 200
    assert "authorization" in service.heard[0].headers
    assert "authorization" not in stranger.heard[0].headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stranger_that_refuses_after_a_redirect_changes_nothing(
    call, source, stand_in, service, new_stand_in, said, method
):
    stranger = new_stand_in()
    stranger.answers["/no"] = lambda _: said({}, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    service.answers["/beers"] = lambda _: said({}, 303, {"Location": f"{stranger.base}/no"})
    assert call(source, service.base, method, f"{service.base}/beers") == 401
    assert (len(service.heard), len(stranger.heard), len(stand_in.asked)) == (1, 1, 1)


def test_a_redirect_within_the_service_keeps_the_token(call, source, service, refuse, said):
    service.answers["/old"] = lambda _: said({}, 307, {"Location": "/beers"})
    service.answers["/beers"] = refuse()
    assert call(source, service.base, "GET", f"{service.base}/old") == 200
    assert [heard.token for heard in service.heard] == ["token-1", "token-1"]


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}@{other}/x",
        "http://{other}/x?http://127.0.0.1:{port}/",
        "http://{other}/127.0.0.1:{port}",
        "http://{other}#@127.0.0.1:{port}/",
        "http://localhost:{other_port}/x",
    ],
)
def test_an_address_that_only_looks_like_the_service_gets_no_token(call, source, service, new_stand_in, said, address):
    stranger = new_stand_in()
    port, other_port = service.server.server_port, stranger.server.server_port
    url = address.format(port=port, other=f"127.0.0.1:{other_port}", other_port=other_port)
    call(source, service.base, "GET", url)
    assert stranger.heard
    assert "token-1" not in str([heard.headers for heard in stranger.heard])
    assert not service.heard


@pytest.mark.parametrize(
    "origins",
    [[], "http://api.example.com", "https://api.example.com/v1", "https://api.example.com?x", "*", "https://"],
)
def test_an_origin_is_scheme_host_and_port(source, origins):
    for auth in (Httpx2Auth, RequestsAuth):
        with pytest.raises(ValueError, match="origin"):
            auth(source, origins)


def test_without_a_token_there_is_no_call(call, source, stand_in, service, said):
    stand_in.answers["/demo/token"] = lambda _: said({"error": "invalid_client"}, 401)
    with pytest.raises(TokenUnavailable):
        call(source, service.base, "GET", f"{service.base}/beers")
    assert not service.heard


def test_a_bound_token_travels_with_a_proof_and_the_nonce_that_is_wanted(call, stand_in, service, said):
    stand_in.more = {"token_type": "DPoP"}
    give = stand_in.answers["/demo/token"]

    def careful(heard):
        if "as-nonce" not in proof_of(heard)[1].get("nonce", ""):
            return said({"error": "use_dpop_nonce"}, 400, {"DPoP-Nonce": "as-nonce"})
        return give(heard)

    def api(heard):
        if proof_of(heard)[1].get("nonce") != "rs-nonce":
            headers = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "rs-nonce"}
            return said({}, 401, headers)
        return said({})

    stand_in.answers["/demo/token"], service.answers["/beers"] = careful, api
    key = DpopKey()
    source = ClientCredentials(stand_in.where, ClientSecret("me", "s"), dpop=key, policy=PATIENT)
    url = f"{service.base}/beers"
    assert [call(source, service.base, "POST", f"{url}?page=1", b"x") for _ in range(2)] == [200, 200]
    assert len(stand_in.asked) == 2
    assert len(service.heard) == 3
    for heard in service.heard:
        thumbprint, claims = proof_of(heard)
        assert heard.headers["authorization"] == "DPoP token-1"
        assert (thumbprint, claims["htm"], claims["htu"]) == (key.thumbprint, "POST", url)
        assert base64.urlsafe_b64decode(claims["ath"] + "=") == hashlib.sha256(b"token-1").digest()
    assert len({proof_of(heard)[1]["jti"] for heard in [*service.heard, *stand_in.asked]}) == 5


def proof_of(heard) -> tuple[str, dict]:
    """Return whose proof it is and what it says, judged by another library."""
    proof = heard.headers["dpop"]
    header = jwt.get_unverified_header(proof)
    assert (header["typ"], set(header["jwk"])) == ("dpop+jwt", {"kty", "crv", "x", "y"})
    claims = jwt.decode(proof, jwt.PyJWK(header["jwk"]), algorithms=["ES256"])
    return ECKey.import_key(header["jwk"]).thumbprint(), claims


def test_a_bearer_token_in_place_of_a_bound_one_is_not_taken(stand_in):
    source = ClientCredentials(stand_in.where, ClientSecret("me", "s"), dpop=DpopKey(), policy=PATIENT)
    with pytest.raises(TokenUnavailable, match="token_type is not DPoP"):
        source.get()
