"""The authorization endpoint for browsers (RFC 6749 §3.1, OIDC Core §3.1.2.1): GET and POST."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.api.http import Request, Response
from tegata.api.routes import Route
from tegata.flows import authorize
from tegata.flows.browser import Answer
from tegata.flows.directory import LoadedTenant
from tegata.protocol.errors import OAuthError, Refused
from tegata.protocol.parameters import Parameters
from tegata.web.front import Front, handle_of, handle_path, see_other


@dataclass(frozen=True, slots=True)
class AuthorizeEndpoint:
    """`/authorize`, and where a parked request is taken up again."""

    front: Front

    def routes(self) -> dict[str, Route]:
        """Return the endpoints by path below the tenant."""
        return {
            "authorize": Route({"GET": self.get, "POST": self.post}, self.front.error),
            "authorize/resume": Route({"GET": self.resume}, self.front.error),
        }

    async def get(self, request: Request, loaded: LoadedTenant) -> Response:
        """Begin with the query's parameters."""
        browser = self.front.browser(request, loaded)
        outcome = await authorize.begin(self.front.services, loaded, _query(request), browser, request.origin)
        return self.front.follow(request, loaded, outcome)

    async def post(self, request: Request, loaded: LoadedTenant) -> Response:
        """Begin with the body's parameters.

        The POST usually comes from another site and so without SameSite cookies. The request is stored and taken up
        by a GET, which brings them: otherwise a living session would not be seen.
        """
        browser = self.front.browser(request, loaded)
        parameters = await request.form()
        if browser.session_secret is not None:
            outcome = await authorize.begin(self.front.services, loaded, parameters, browser, request.origin)
            return self.front.follow(request, loaded, outcome)
        parked = await authorize.park(self.front.services, loaded, parameters, request.origin)
        if isinstance(parked, Answer):
            return self.front.follow(request, loaded, parked)
        return see_other(handle_path(loaded, "authorize/resume", parked))

    async def resume(self, request: Request, loaded: LoadedTenant) -> Response:
        """Take up a parked request."""
        browser = self.front.browser(request, loaded)
        outcome = await authorize.resume(self.front.services, loaded, handle_of(request), browser, request.origin)
        return self.front.follow(request, loaded, outcome)


def _query(request: Request) -> Parameters:
    """Return the query; what cannot even be parsed is a page: no redirect URI is known yet."""
    try:
        return request.query()
    except OAuthError as error:
        raise Refused(error.code, error.description, error.reason, error.status) from None
