"""Authentication for `requests`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import requests
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar

from tegata_verify.client.calls import Calls, Origins, Verdict, find_origin
from tegata_verify.client.records import AccessToken
from tegata_verify.client.sources import TokenSource


class ServiceAuth(AuthBase):
    """Sends a token with each request to the configured origins, and to nobody else.

    What `tegata_verify.client.httpx2.ServiceAuth` says of second attempts and redirects holds here, too.

    >>> from tegata_verify.client import ClientCredentials, ClientSecret
    >>> source = ClientCredentials("https://id.example.com/demo", ClientSecret("order-service", "a secret"))
    >>> session = requests.Session()
    >>> session.auth = ServiceAuth(source, "https://stock.example.com")
    """

    def __init__(
        self, source: TokenSource, origins: str | Collection[str], *, allow_loopback_http: bool = False
    ) -> None:
        self._calls = Calls(source, Origins(origins, allow_loopback_http=allow_loopback_http))

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Dress the request, if it goes to a configured origin."""
        if find_origin(request.url or "") not in self._calls.origins:
            return request
        token = self._calls.source.get()
        self._dress(request, token)
        position = _position(request.body)

        def answered(response: requests.Response, **sending: Any) -> requests.Response:
            return self._again(request, response, token, position, sending)

        request.register_hook("response", answered)
        return request

    def _dress(self, request: requests.PreparedRequest, token: AccessToken) -> None:
        request.headers.update(self._calls.headers(token, request.method or "", request.url or ""))

    def _again(
        self,
        request: requests.PreparedRequest,
        response: requests.Response,
        token: AccessToken,
        position: int | None,
        sending: dict[str, Any],
    ) -> requests.Response:
        # A redirected request is a copy, and keeps the hook: sending it, or the first one, again could repeat an act.
        if response.request is not request:
            return response
        challenges = [response.headers.get("www-authenticate", "")]
        verdict = self._calls.judge(token, request.url or "", response.status_code, response.headers, challenges)
        if verdict is Verdict.FINAL or not _may_be_sent_again(request, position):
            return response
        another = self._calls.source.get()
        if not verdict.is_met_by(another, token):
            return response
        # As requests' own HTTPDigestAuth does it: the connection is given back, cookies are kept.
        response.content  # noqa: B018 - reading it to its end
        response.close()
        repeated = request.copy()
        if repeated._cookies is not None:
            extract_cookies_to_jar(repeated._cookies, request, response.raw)
            repeated.prepare_cookies(repeated._cookies)
        self._dress(repeated, another)
        second: requests.Response = response.connection.send(repeated, **sending)
        second.history.append(response)
        second.request = repeated
        return second


def _position(body: Any) -> int | None:
    """Return where a file that is a body begins, if it can be told."""
    try:
        return None if body is None or isinstance(body, str | bytes) else int(body.tell())
    except (AttributeError, OSError, ValueError):
        return None


def _may_be_sent_again(request: requests.PreparedRequest, position: int | None) -> bool:
    if request.body is None or isinstance(request.body, str | bytes):
        return True
    seek = getattr(request.body, "seek", None)
    if position is None or seek is None:
        return False
    try:
        seek(position)
    except (OSError, ValueError):
        return False
    return True
