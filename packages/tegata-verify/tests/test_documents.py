"""Fetching from a server that misbehaves."""

from __future__ import annotations

import gzip
import json
import ssl

import httpx2
import pytest

from tegata_verify.documents import DocumentFetcher, FetchFailed, find_max_age

pytestmark = pytest.mark.anyio


@pytest.fixture
def fetcher():
    return DocumentFetcher(allow_loopback_http=True, max_bytes=1000, timeout_seconds=60)


async def failure(fetcher, url):
    with pytest.raises(FetchFailed) as caught:
        await fetcher.fetch(url)
    return str(caught.value)


async def test_a_document_is_read_with_its_validators(server, answer, fetcher):
    server.answers["/doc"] = answer({"a": 1}, headers={"etag": '"x"', "cache-control": "max-age=60"})
    document = await fetcher.fetch(f"{server.base}/doc")
    assert (document.content, document.etag, document.max_age_seconds) == ({"a": 1}, '"x"', 60)
    assert server.seen[0]["accept-encoding"] == "identity"
    assert "cookie" not in server.seen[0]
    assert "authorization" not in server.seen[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server, answer, fetcher, status):
    server.answers["/doc"] = answer({}, status=status, headers={"location": f"{server.base}/elsewhere"})
    assert await failure(fetcher, f"{server.base}/doc") == f"status {status}"
    assert server.requests == {"/doc": 1}


@pytest.mark.parametrize("status", [201, 204, 304, 400, 401, 404, 429, 500, 503])
async def test_only_200_is_an_answer(server, answer, fetcher, status):
    server.answers["/doc"] = answer({}, status=status)
    assert await failure(fetcher, f"{server.base}/doc") == f"status {status}"


async def test_a_large_body_is_cut_off(server, answer, fetcher):
    server.answers["/doc"] = answer(b'{"a":"' + b"x" * 10_000_000 + b'"}')
    assert await failure(fetcher, f"{server.base}/doc") == "more than 1000 bytes"


async def test_a_body_that_would_unfold_is_refused(server, answer, fetcher):
    bomb = gzip.compress(json.dumps({"a": "x" * 100_000}).encode())
    server.answers["/doc"] = answer(bomb, headers={"content-encoding": "gzip"})
    assert await failure(fetcher, f"{server.base}/doc") == "a compressed answer"


async def test_a_server_that_sends_a_byte_now_and_then_is_given_up(server, answer):
    server.answers["/doc"] = answer({"a": "x" * 500}, drip_seconds=0.02)
    fetcher = DocumentFetcher(allow_loopback_http=True, timeout_seconds=0.1)
    assert "no answer within" in await failure(fetcher, f"{server.base}/doc")


async def test_a_server_that_never_answers_is_given_up(server):
    server.gate.clear()
    fetcher = DocumentFetcher(allow_loopback_http=True, timeout_seconds=0.05)
    assert "no answer within" in await failure(fetcher, f"{server.base}/doc")


async def test_a_server_that_is_not_there_is_a_failure(server, fetcher):
    assert "Connect" in await failure(fetcher, "http://127.0.0.1:1/doc")


async def test_a_server_that_speaks_no_http_is_a_failure(server, answer, fetcher):
    server.answers["/doc"] = answer(status=0)
    assert await failure(fetcher, f"{server.base}/doc")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"a":1,"a":2}', b"\xff\xfe", b"null"])
async def test_only_a_json_object_is_a_document(server, answer, fetcher, body):
    server.answers["/doc"] = answer(body)
    assert await failure(fetcher, f"{server.base}/doc")


@pytest.mark.parametrize(
    "url", ["http://example.com/doc", "ftp://127.0.0.1/doc", "file:///etc/passwd", "doc", "http://"]
)
async def test_an_unsafe_address_is_not_asked(fetcher, url):
    assert "document:" in await failure(fetcher, url)


async def test_plain_http_is_refused_even_on_loopback_unless_allowed(server):
    assert "https is required" in await failure(DocumentFetcher(), f"{server.base}/doc")
    assert not server.requests


async def test_https_checks_the_certificate_of_the_server(fetcher):
    assert "Connect" in await failure(fetcher, "https://127.0.0.1:1/doc")
    assert fetcher._outgoing.tls is not None
    assert fetcher._outgoing.tls.check_hostname
    assert fetcher._outgoing.tls.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"])
async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(server, answer, fetcher, monkeypatch, name):
    server.answers["/doc"] = answer({})
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    await fetcher.fetch(f"{server.base}/doc")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": "public"}, None),
        ({"cache-control": "MAX-AGE=5"}, 5),
        ({"cache-control": 'max-age="5"'}, 5),
        ({"cache-control": "max-age=-5"}, None),
        ({"cache-control": "no-cache, max-age=5"}, 0),
        ({"cache-control": "no-store"}, 0),
        ({"cache-control": "max-age=5", "age": "3"}, 2),
        ({"cache-control": "max-age=5", "age": "9"}, 0),
        ({"cache-control": "max-age=5", "age": "x"}, 5),
        ({"cache-control": "max-age=5", "age": "٣"}, 5),
        ({"cache-control": "s-maxage=5"}, None),
    ],
)
def test_max_age_is_read_as_caches_read_it(headers, seconds):
    assert find_max_age(httpx2.Headers([(k.encode(), v.encode()) for k, v in headers.items()])) == seconds
