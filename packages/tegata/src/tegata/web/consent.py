"""The consent page."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.api.http import Request, Response
from tegata.api.routes import Route
from tegata.flows import authorize, consent
from tegata.flows.browser import Answer, NeedsPage
from tegata.flows.directory import LoadedTenant
from tegata.protocol.policy import TenantPolicy
from tegata.web.front import Front, choice_of, handle_of, handle_path, has_chosen, is_protected
from tegata.web.pages import ConsentPage, ScopeLine
from tegata.web.sign_in import display_name


@dataclass(frozen=True, slots=True)
class ConsentEndpoint:
    """`/consent`."""

    front: Front

    def routes(self) -> dict[str, Route]:
        """Return the endpoint by its path below the tenant."""
        return {"consent": Route({"GET": self.show, "POST": self.submit}, self.front.error)}

    async def show(self, request: Request, loaded: LoadedTenant) -> Response:
        """Show the question, or go on if it needs no answer any more."""
        page = await self._resume(request, loaded)
        if not isinstance(page, NeedsPage) or page.kind != "consent":
            return self.front.follow(request, loaded, page)
        return self._page(request, loaded, page)

    async def submit(self, request: Request, loaded: LoadedTenant) -> Response:
        """Take the answer. It counts only for the person the page was shown to."""
        form = await request.form()
        page = await self._resume(request, loaded)
        if not isinstance(page, NeedsPage) or page.kind != "consent":
            return self.front.follow(request, loaded, page)
        browser = self.front.browser(request, loaded)
        decision = form.get("decision")
        protected = is_protected(browser, form.get("csrf_token"), _purpose(page))
        if not protected or decision not in {"approve", "deny"}:
            return self._page(request, loaded, page)
        services = self.front.services
        if decision == "deny":
            outcome: Answer | NeedsPage = await authorize.deny(services, loaded, page.handle, request.origin)
        else:
            outcome = await consent.approve(services, loaded, page, browser, request.origin)
        return self.front.follow(request, loaded, outcome)

    async def _resume(self, request: Request, loaded: LoadedTenant) -> Answer | NeedsPage:
        browser, handle = self.front.browser(request, loaded), handle_of(request)
        chosen = has_chosen(request, browser, handle)
        return await authorize.resume(
            self.front.services, loaded, handle, browser, request.origin, account_chosen=chosen
        )

    def _page(self, request: Request, loaded: LoadedTenant, page: NeedsPage) -> Response:
        assert page.found is not None  # a consent page is made for somebody
        browser = self.front.browser(request, loaded)
        protection = self.front.protect(loaded, browser, _purpose(page))
        metadata, policy = page.client.metadata, loaded.tenant.policy
        chosen = choice_of(browser, page.handle) if has_chosen(request, browser, page.handle) else None
        values = ConsentPage(
            action=handle_path(loaded, "consent", page.handle, chosen),
            csrf_token=protection.token,
            tenant_name=policy.display_name or loaded.tenant.name,
            client_name=metadata.client_name or page.client.client_id,
            user_name=display_name(page.found.user),
            scopes=_lines(page, policy, self._locale(request, page, policy)),
            claims=tuple(sorted(page.request.claims.personal_names())),
            resources=page.request.resources,
            client_uri=metadata.client_uri,
            client_logo_uri=metadata.logo_uri,
            client_policy_uri=metadata.policy_uri,
            client_tos_uri=metadata.tos_uri,
        )
        return self.front.page(
            request,
            values,
            ui_locales=page.request.ui_locales,
            default_locale=policy.default_locale,
            form_targets=(page.request.answer_to.redirect_uri,),
        ).with_headers(*protection.headers)

    def _locale(self, request: Request, page: NeedsPage, policy: TenantPolicy) -> str:
        return self.front.locale(request, page.request.ui_locales, policy.default_locale)


def _lines(page: NeedsPage, policy: TenantPolicy, locale: str) -> tuple[ScopeLine, ...]:
    texts = {scope.name: scope.description for scope in policy.scopes}
    return tuple(ScopeLine(scope, texts.get(scope, {}).get(locale)) for scope in page.request.scopes)


def _purpose(page: NeedsPage) -> str:
    """Bound to the person: after a change of account in another tab, the old page's answer does not count."""
    return f"consent|{page.handle}|{page.found.user.user_id if page.found is not None else ''}"
