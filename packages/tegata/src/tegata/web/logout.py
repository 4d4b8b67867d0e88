"""RP-initiated logout for browsers: `/end_session`, the question, the signed-out page."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from tegata.api.http import Request, Response
from tegata.api.routes import Route
from tegata.flows import logout
from tegata.flows.browser import Browser
from tegata.flows.directory import LoadedTenant
from tegata.flows.logout import AskUser, SignedOut
from tegata.protocol import logout as rules
from tegata.protocol.authorization_response import redirect_location
from tegata.protocol.logout import LogoutRequest
from tegata.protocol.parameters import Parameters
from tegata.web.front import Front, is_protected, see_other
from tegata.web.pages import LogoutConfirmPage, SignedOutPage
from tegata.web.sign_in import display_name


@dataclass(frozen=True, slots=True)
class LogoutEndpoint:
    """`/end_session` (GET and POST, RP-Initiated Logout §2) and the form that confirms it."""

    front: Front

    def routes(self) -> dict[str, Route]:
        """Return the endpoints by path below the tenant."""
        return {
            "end_session": Route({"GET": self.begin, "POST": self.begin}, self.front.error),
            "sign-out": Route({"POST": self.confirm}, self.front.error),
        }

    async def begin(self, request: Request, loaded: LoadedTenant) -> Response:
        """End the session, or ask."""
        posted = request.method == "POST"
        parameters = await request.form() if posted else request.query()
        wanted = rules.parse(parameters)
        browser = self.front.browser(request, loaded)
        if posted and browser.session_secret is None:
            return _come_back(loaded, parameters)
        outcome = await logout.end_session(self.front.services, loaded, wanted, browser, request.origin)
        if isinstance(outcome, AskUser):
            return self._ask(request, loaded, wanted, outcome, browser=browser, parameters=parameters)
        return self._signed_out(request, loaded, outcome, parameters)

    async def confirm(self, request: Request, loaded: LoadedTenant) -> Response:
        """Take the answer to the question."""
        form, parameters = await request.form(), request.query()
        wanted = rules.parse(parameters)
        browser = self.front.browser(request, loaded)
        if browser.session_secret is None:
            return _come_back(loaded, parameters)
        protected = is_protected(browser, form.get("csrf_token"), "sign-out")
        confirmed = protected and form.get("decision") == "approve"
        if protected and form.get("decision") == "deny":
            return self._signed_out(request, loaded, None, parameters)
        outcome = await logout.end_session(
            self.front.services, loaded, wanted, browser, request.origin, confirmed=confirmed
        )
        if isinstance(outcome, AskUser):
            return self._ask(request, loaded, wanted, outcome, browser=browser, parameters=parameters)
        return self._signed_out(request, loaded, outcome, parameters)

    def _ask(
        self,
        request: Request,
        loaded: LoadedTenant,
        wanted: LogoutRequest,
        outcome: AskUser,
        *,
        browser: Browser,
        parameters: Parameters,
    ) -> Response:
        protection = self.front.protect(loaded, browser, "sign-out")
        client = outcome.client
        # The hint has done its work; it need not travel on in an address.
        carried = {
            "client_id": client.client_id if client is not None else None,
            "post_logout_redirect_uri": wanted.post_logout_redirect_uri,
            "state": wanted.state,
            "ui_locales": parameters.get("ui_locales"),
        }
        query = urlencode({name: value for name, value in carried.items() if value is not None})
        page = LogoutConfirmPage(
            action=f"/{loaded.tenant.name}/sign-out?{query}",
            csrf_token=protection.token,
            tenant_name=loaded.tenant.policy.display_name or loaded.tenant.name,
            user_name=display_name(outcome.found.user),
            client_name=(client.metadata.client_name or client.client_id) if client is not None else None,
        )
        targets = (wanted.post_logout_redirect_uri,) if wanted.post_logout_redirect_uri else ()
        return self.front.page(
            request,
            page,
            ui_locales=parameters.get("ui_locales"),
            default_locale=loaded.tenant.policy.default_locale,
            form_targets=targets,
        ).with_headers(*protection.headers)

    def _signed_out(
        self, request: Request, loaded: LoadedTenant, outcome: SignedOut | None, parameters: Parameters
    ) -> Response:
        """Go back to the application, or say that the session has ended. `None`: the user stays signed in."""
        tenant = loaded.tenant
        continue_uri = None
        if outcome is not None and outcome.continue_uri is not None:
            state = {} if outcome.state is None else {"state": outcome.state}
            continue_uri = redirect_location(outcome.continue_uri, state)
        page = SignedOutPage(
            tenant_name=tenant.policy.display_name or tenant.name,
            continue_uri=continue_uri,
            signed_out=outcome is not None,
        )
        if outcome is not None and continue_uri is not None and outcome.automatic:
            response = see_other(continue_uri)
        else:
            response = self.front.page(
                request,
                page,
                ui_locales=parameters.get("ui_locales"),
                default_locale=tenant.policy.default_locale,
            )
        return response if outcome is None else response.with_headers(self.front.cookies.no_session(tenant.name))


def _come_back(loaded: LoadedTenant, parameters: Parameters) -> Response:
    """Ask for the same by GET, which brings the session's cookie.

    A POST from another site brings none: answered as "no session" it would take the cookie of one that lives on.
    """
    query = urlencode(dict(parameters))
    return see_other(f"/{loaded.tenant.name}/end_session" + (f"?{query}" if query else ""))
