"""Development only: the console at `/` and the playground. Never part of a production server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tegata.api.http import Request, Response
from tegata.api.routes import PlainHandler
from tegata.protocol.errors import Refused
from tegata.web.front import Front
from tegata.web.pages import LandingPage, PlaygroundPage


@dataclass(frozen=True, slots=True)
class DeveloperPages:
    """What the developer's pages show."""

    landing: LandingPage
    playground: PlaygroundPage

    def routes(self, front: Front, base_url: str) -> dict[str, PlainHandler]:
        """Return the handlers by exact path. They answer to the host of `base_url` and to loopback alone."""
        hosts = _own_hosts(base_url)

        async def landing(request: Request) -> Response:
            _check_host(request, hosts)
            return front.page(request, self.landing)

        async def playground(request: Request) -> Response:
            _check_host(request, hosts)
            return front.page(request, self.playground)

        return {"/": landing, "/playground": playground}


def _own_hosts(base_url: str) -> frozenset[str]:
    parts = urlsplit(base_url)
    port = "" if parts.port is None else f":{parts.port}"
    return frozenset({parts.netloc.lower(), *(f"{name}{port}" for name in ("localhost", "127.0.0.1", "[::1]"))})


def _check_host(request: Request, hosts: frozenset[str]) -> None:
    """Refuse names that are not ours, RFC 9110 §7.4: a foreign one that leads to loopback would read the passwords."""
    if (request.header(b"host") or "").lower() not in hosts:
        raise Refused("invalid_request", "this server has another name", "host", status=421)
