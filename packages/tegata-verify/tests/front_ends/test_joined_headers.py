"""WSGI joins repeated headers by commas (PEP 3333): of two, none is taken, whichever front end stands on it."""

from __future__ import annotations

import pytest

from tegata_verify import AccessError, ClientCertificates, DpopPolicy, Guard, Reason
from tegata_verify.testing import TestAlb, TestCertificate, TestDpopKey, TestIssuer
from tegata_verify.wsgi import describe

pytestmark = pytest.mark.anyio

HOST, PEER = "https://api.test", "10.0.0.7"
ISSUER = TestIssuer()
ALB = TestAlb(ISSUER, peer=PEER)
KEY = TestDpopKey()
GUARD = Guard(ISSUER.verifier(), alb=ALB.verifier(), dpop=DpopPolicy(HOST))


def environ(headers: list[tuple[str, str]], comma: str) -> dict[str, str]:
    found = {"REQUEST_METHOD": "GET", "PATH_INFO": "/beers", "HTTP_HOST": "api.test", "wsgi.url_scheme": "https"}
    for name, value in headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        found[key] = f"{found[key]}{comma}{value}" if key in found else value
    return {**found, "REMOTE_ADDR": PEER}


def by_load_balancer() -> list[tuple[str, str]]:
    return ALB.mint_headers(subject="ann")


def by_proof() -> list[tuple[str, str]]:
    token = ISSUER.mint(bound_to=KEY)
    return list(KEY.headers("GET", f"{HOST}/beers", token).items())


def by_bearer() -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {ISSUER.mint()}")]


@pytest.mark.parametrize("comma", [",", ", "])
@pytest.mark.parametrize("make", [by_bearer, by_proof, by_load_balancer])
async def test_each_header_may_come_once(make, comma):
    assert (await GUARD.authorize(describe(environ(make(), comma)))).subject in ("user-1", "ann")
    for place in range(len(make())):
        for second in (make()[place][1], "x", ""):
            headers = make()
            headers.append((headers[place][0], second))
            with pytest.raises(AccessError) as caught:
                await GUARD.authorize(describe(environ(headers, comma)))
            assert caught.value.status in (400, 401)


WAYS = [getattr(ClientCertificates, way)([PEER]) for way in ("nginx", "alb_verify", "alb_passthrough", "rfc9440")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.header)
@pytest.mark.parametrize("comma", [",", ", "])
async def test_of_two_certificates_none_is_taken(way, comma):
    guard, certificate = Guard(ISSUER.verifier(), certificates=way), TestCertificate()
    token = ("Authorization", f"Bearer {ISSUER.mint(bound_to=certificate)}")
    shown = list(certificate.headers(way).items())
    assert (await guard.authorize(describe(environ([token, *shown], comma)))).subject == "user-1"
    for second in (shown[0][1], *TestCertificate().headers(way).values(), "x"):
        with pytest.raises(AccessError) as caught:
            await guard.authorize(describe(environ([token, *shown, (shown[0][0], second)], comma)))
        assert caught.value.reason is Reason.WRONG_CERTIFICATE
