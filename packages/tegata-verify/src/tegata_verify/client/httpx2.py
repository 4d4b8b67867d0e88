"""Authentication for httpx2's clients, with and without asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Generator

import httpx2

from tegata_verify.client.calls import DEFAULT_PORTS, Calls, Origin, Origins, Verdict
from tegata_verify.client.records import AccessToken
from tegata_verify.client.sources import TokenSource


class ServiceAuth(httpx2.Auth):
    """Sends a token with each request to the configured origins, and to nobody else.

    A service that answers `invalid_token` is asked a second time with a new token, once, if the request can be sent
    again: its body is no stream, and it was not redirected. A redirect to another host never carries the token, nor
    does a request to an origin that is not configured.

    >>> from tegata_verify.client import ClientCredentials, ClientSecret
    >>> source = ClientCredentials("https://id.example.com/demo", ClientSecret("order-service", "a secret"))
    >>> client = httpx2.Client(auth=ServiceAuth(source, "https://stock.example.com"))
    >>> client.close()
    """

    def __init__(
        self, source: TokenSource, origins: str | Collection[str], *, allow_loopback_http: bool = False
    ) -> None:
        self._calls = Calls(source, Origins(origins, allow_loopback_http=allow_loopback_http))

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send the request, and perhaps once more."""
        if _origin(request) not in self._calls.origins:
            yield request
            return
        token = self._calls.source.get()
        self._dress(request, token)
        verdict = self._judge(request, (yield request), token)
        if verdict is not Verdict.FINAL and verdict.is_met_by(another := self._calls.source.get(), token):
            self._dress(request, another)
            yield request

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send the request, and perhaps once more."""
        if _origin(request) not in self._calls.origins:
            yield request
            return
        token = await self._calls.source.aget()
        self._dress(request, token)
        verdict = self._judge(request, (yield request), token)
        if verdict is not Verdict.FINAL and verdict.is_met_by(another := await self._calls.source.aget(), token):
            self._dress(request, another)
            yield request

    def _dress(self, request: httpx2.Request, token: AccessToken) -> None:
        request.headers.update(self._calls.headers(token, request.method, str(request.url)))

    def _judge(self, request: httpx2.Request, response: httpx2.Response, token: AccessToken) -> Verdict:
        # After a redirect the first request may have had its effect: sending it again could repeat it.
        if response.request is not request:
            return Verdict.FINAL
        challenges = response.headers.get_list("www-authenticate")
        verdict = self._calls.judge(token, str(request.url), response.status_code, response.headers, challenges)
        return verdict if isinstance(request.stream, httpx2.ByteStream) else Verdict.FINAL


def _origin(request: httpx2.Request) -> Origin | None:
    # Of the parsed address, as it will be used: a second parser might read another host in it.
    url = request.url
    port = url.port or DEFAULT_PORTS.get(url.scheme)
    return None if port is None else (url.scheme, url.raw_host.decode("ascii").lower(), port)
