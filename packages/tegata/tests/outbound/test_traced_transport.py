"""Spans of requests to other servers: whom, and what became of it; neither path nor query, nor a header of ours."""

from __future__ import annotations

import httpx2
import pytest
from opentelemetry.trace import StatusCode

from tegata.outbound.safe_transport import ForbiddenAddress, SafeTransport
from tegata.outbound.traced_transport import TracedTransport
from tegata.telemetry.spans import Incoming
from tegata.testing.spans import KeptSpans

pytestmark = pytest.mark.anyio

REQUEST = ("POST /{tenant}/token", {}, Incoming((), continued=False))
URL = "https://user:hidden@keys.example:8443/hidden?hidden=hidden#hidden"


@pytest.mark.parametrize(("status", "failed"), [(200, False), (304, False), (404, True), (503, True)])
async def test_a_request_says_whom_and_how_it_ended(status: int, failed: bool) -> None:
    kept, sent = KeptSpans(), list[httpx2.Request]()

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(status, text="hidden")

    transport = TracedTransport(httpx2.MockTransport(answer), kept.tracer)
    async with httpx2.AsyncClient(transport=transport) as client:
        with kept.tracer.request(*REQUEST):
            await client.get(URL)
    span = kept.ended[0]
    said = dict(span.attributes or {})
    assert said.pop("error.type", None) == (str(status) if failed else None)
    assert said == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "server.address": "keys.example",
        "server.port": 8443,
        "http.response.status_code": status,
    }
    assert (span.name, span.status.status_code is StatusCode.ERROR) == ("GET", failed)
    assert "hidden" not in span.to_json()
    assert not {"traceparent", "tracestate", "x-amzn-trace-id"} & set(sent[0].headers)


async def test_a_forbidden_address_is_a_failure() -> None:
    kept = KeptSpans()

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["10.0.0.1"]

    async with httpx2.AsyncClient(transport=TracedTransport(SafeTransport(resolve=resolve), kept.tracer)) as client:
        with kept.tracer.request(*REQUEST), pytest.raises(ForbiddenAddress):
            await client.get("https://keys.example/hidden")
    said = dict(kept.ended[0].attributes or {})
    assert (said["error.type"], said["server.port"]) == ("ForbiddenAddress", 443)
    assert "10.0.0.1" not in kept.ended[0].to_json()
