"""GET /metrics: for the networks that may, by the peer's own address; for everybody else there is nothing there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from tegata.api.addresses import Network, is_within
from tegata.api.http import NO_STORE, NOSNIFF, Receive, Request, Response, Scope, Send
from tegata.protocol.errors import Refused
from tegata.telemetry.metrics import HTTP_REQUESTS, Sample, Workers, exposition

METRICS_PATH = "/metrics"
# What proxies add (RFC 7239, RFC 9110 §7.6.3): then the peer is a proxy, and whom it stands for is not known.
# Many tell the host or the scheme and not the address, so every name of that family counts.
_FORWARDED = (b"forwarded", b"x-forwarded", b"x-real-ip", b"via")


class MetricsEndpoint:
    """Answers with the samples of all processes."""

    def __init__(self, workers: Workers, networks: tuple[Network, ...]) -> None:
        self._workers = workers
        self._networks = networks

    async def __call__(self, request: Request) -> Response:
        if not self._may_read(request.scope):
            # Word for word what an address gets at which there is nothing.
            raise Refused("not_found", "there is nothing at this address", "not_found", status=404)
        accept = ",".join(request.headers(b"accept"))
        body, content_type = exposition(await self._workers.samples(), accept)
        return Response(200, body, ((b"content-type", content_type.encode()), NO_STORE, NOSNIFF))

    def _may_read(self, scope: Scope) -> bool:
        client = scope.get("client")
        forwarded = any(name.startswith(_FORWARDED) for name, _ in scope["headers"])
        return client is not None and not forwarded and is_within(client[0], self._networks)


class CountedRequests:
    """An ASGI application that counts what another one answers, by endpoint and status.

    `name_of` gives one of few names for a path.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], name_of: Callable[[str], str]) -> None:
        self._app = app
        self._name_of = name_of
        self._counts: dict[tuple[str, int], int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                key = (self._name_of(scope["path"]), message["status"])
                self._counts[key] = self._counts.get(key, 0) + 1
            await send(message)

        await self._app(scope, receive, counting)

    def samples(self) -> Iterable[Sample]:
        """Return what was counted."""
        return [HTTP_REQUESTS.sample(count, name, str(status)) for (name, status), count in self._counts.items()]
