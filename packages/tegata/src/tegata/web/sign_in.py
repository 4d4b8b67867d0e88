"""The sign-in page, and the choice between the account at hand and another one."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.api.http import Request, Response
from tegata.api.routes import Route
from tegata.flows import authorize, sign_in
from tegata.flows.browser import Browser, NeedsPage
from tegata.flows.directory import LoadedTenant
from tegata.flows.sign_in import NotSignedIn
from tegata.identity.account import User
from tegata.protocol.parameters import Parameters
from tegata.web.front import Front, choice_of, handle_of, handle_path, is_protected
from tegata.web.pages import SignInPage

_SIGN_IN, _CHOOSE = "sign-in", "choose-account"


@dataclass(frozen=True, slots=True)
class SignInEndpoint:
    """`/sign-in` and `/choose-account`."""

    front: Front

    def routes(self) -> dict[str, Route]:
        """Return the endpoints by path below the tenant."""
        return {
            _SIGN_IN: Route({"GET": self.show, "POST": self.submit}, self.front.error),
            _CHOOSE: Route({"GET": self.show, "POST": self.submit}, self.front.error),
        }

    async def show(self, request: Request, loaded: LoadedTenant) -> Response:
        """Show the form, or go on if nobody has to sign in any more (back button, another tab)."""
        browser = self.front.browser(request, loaded)
        page = await authorize.resume(self.front.services, loaded, handle_of(request), browser, request.origin)
        if not isinstance(page, NeedsPage) or page.kind == "consent":
            return self.front.follow(request, loaded, page)
        return self._page(request, loaded, page, browser, username=_hinted(page))

    async def submit(self, request: Request, loaded: LoadedTenant) -> Response:
        """Take the form: sign in, go on with the account at hand, or cancel."""
        browser = self.front.browser(request, loaded)
        handle, form = handle_of(request), await request.form()
        page = await authorize.resume(self.front.services, loaded, handle, browser, request.origin)
        if not isinstance(page, NeedsPage) or page.kind == "consent":
            return self.front.follow(request, loaded, page)
        if not is_protected(browser, form.get("csrf_token"), _purpose(page)):
            return self._page(request, loaded, page, browser, username=_hinted(page), error="session_expired")
        if form.get("decision") == "cancel":
            answer = await authorize.deny(self.front.services, loaded, handle, request.origin)
            return self.front.follow(request, loaded, answer)
        if form.get("decision") == "continue" and page.kind == "choose_account":
            chosen = await authorize.resume(
                self.front.services, loaded, handle, browser, request.origin, account_chosen=True
            )
            return self.front.follow(request, loaded, chosen, chosen=choice_of(browser, handle))
        return await self._sign_in(request, loaded, page, browser, form)

    async def _sign_in(
        self, request: Request, loaded: LoadedTenant, page: NeedsPage, browser: Browser, form: Parameters
    ) -> Response:
        username, password = form.get("username", ""), form.get("password", "")
        if not username or not password:
            return self._page(request, loaded, page, browser, username=username, error="missing_credentials")
        services = self.front.services
        signed_in = await sign_in.sign_in(services, loaded, username, password, browser=browser, origin=request.origin)
        if isinstance(signed_in, NotSignedIn):
            response = self._page(request, loaded, page, browser, username=username, error=signed_in.reason)
            if signed_in.wait_seconds:
                response = response.with_headers((b"retry-after", str(signed_in.wait_seconds).encode()))
            return response
        now_browser = Browser(signed_in.session_secret, browser.csrf_secret, signed_in.device)
        outcome = await authorize.resume(
            services, loaded, page.handle, now_browser, request.origin, account_chosen=True
        )
        tenant, cookies = loaded.tenant.name, self.front.cookies
        return self.front.follow(request, loaded, outcome).with_headers(
            cookies.session(tenant, signed_in.session_secret), cookies.device(tenant, signed_in.device)
        )

    def _page(
        self,
        request: Request,
        loaded: LoadedTenant,
        page: NeedsPage,
        browser: Browser,
        *,
        username: str,
        error: str | None = None,
    ) -> Response:
        protection = self.front.protect(loaded, browser, _purpose(page))
        metadata = page.client.metadata
        choosing = page.kind == "choose_account" and page.found is not None
        values = SignInPage(
            action=handle_path(loaded, _CHOOSE if choosing else _SIGN_IN, page.handle),
            csrf_token=protection.token,
            tenant_name=loaded.tenant.policy.display_name or loaded.tenant.name,
            client_name=metadata.client_name or page.client.client_id,
            client_logo_uri=metadata.logo_uri,
            client_policy_uri=metadata.policy_uri,
            client_tos_uri=metadata.tos_uri,
            username=username,
            error=error,
            cancel=True,
            signed_in_as=display_name(page.found.user) if choosing and page.found is not None else None,
        )
        return self.front.page(
            request,
            values,
            ui_locales=page.request.ui_locales,
            default_locale=loaded.tenant.policy.default_locale,
            form_targets=(page.request.answer_to.redirect_uri,),
        ).with_headers(*protection.headers)


def display_name(user: User) -> str:
    """Return how a person is called on pages."""
    name = user.claims.get("name")
    return name if isinstance(name, str) and name else user.username


def _purpose(page: NeedsPage) -> str:
    return f"sign-in|{page.handle}"


def _hinted(page: NeedsPage) -> str:
    """OIDC Core §3.1.2.1, login_hint: filled in, never trusted. Who signed in before is offered on reauthentication."""
    if page.request.login_hint is not None:
        return page.request.login_hint[:256]
    return page.found.user.username if page.found is not None and page.kind == "sign_in" else ""
