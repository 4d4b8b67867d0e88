"""A span for each request of ours, by OpenTelemetry's conventions: whom was asked, and what became of it.

The address in full is left out: path and query are what a client registered, and may be a secret of its own.
"""

from __future__ import annotations

import httpx2

from tegata.telemetry.spans import Attributes, Tracer


class TracedTransport(httpx2.AsyncBaseTransport):
    """Tells a tracer of what goes through another transport."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request. No header of the trace goes with it: whom we ask is somebody else."""
        url = request.url
        attributes: Attributes = {
            "http.request.method": request.method,
            "url.scheme": url.scheme,
            "server.address": url.host,
            "server.port": url.port or (443 if url.scheme == "https" else 80),
        }
        with self._tracer.call(request.method, attributes) as span:
            response = await self._inner.handle_async_request(request)
            span.set("http.response.status_code", response.status_code)
            if response.status_code >= 400:
                span.fail(str(response.status_code))
            return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
