"""Development only: the console at `/` and the playground. Never part of a production server."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.api.http import Request, Response
from tegata.api.routes import PlainHandler
from tegata.web.front import Front
from tegata.web.pages import LandingPage, PlaygroundPage


@dataclass(frozen=True, slots=True)
class DeveloperPages:
    """What the developer's pages show."""

    landing: LandingPage
    playground: PlaygroundPage

    def routes(self, front: Front) -> dict[str, PlainHandler]:
        """Return the handlers by exact path."""

        async def landing(request: Request) -> Response:
            return front.page(request, self.landing)

        async def playground(request: Request) -> Response:
            return front.page(request, self.playground)

        return {"/": landing, "/playground": playground}
