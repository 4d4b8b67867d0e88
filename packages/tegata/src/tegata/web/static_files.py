"""Static files at their content-hashed addresses."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.api.http import NOSNIFF, Request, Response
from tegata.api.routes import PlainHandler
from tegata.protocol.errors import Refused
from tegata.web.assets import CACHE_CONTROL, Assets


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """`/static/…`."""

    assets: Assets

    def prefixes(self) -> dict[str, PlainHandler]:
        """Return the handler by path prefix."""
        return {"/static/": self.get}

    async def get(self, request: Request) -> Response:
        """Return the file; its address changes with its content, so it may be kept for ever."""
        found = self.assets.find(request.path)
        if found is None:
            raise Refused("not_found", "there is nothing at this address", "not_found", status=404)
        body, content_type = found
        return Response(
            200,
            body,
            ((b"content-type", content_type.encode()), (b"cache-control", CACHE_CONTROL.encode()), NOSNIFF),
        )
