"""What every page handler shares: rendering in the reader's language, form protection, and where a flow leads next."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

from tegata.api.http import NO_STORE, Request, Response
from tegata.api.traces import tell_error
from tegata.crypto.digests import new_secret
from tegata.flows.browser import Answer, Browser, NeedsPage, csrf_token
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.protocol.authorization_response import redirect_location
from tegata.protocol.errors import OAuthError, Refused
from tegata.protocol.metadata import UI_LOCALES
from tegata.web.cookies import Cookies
from tegata.web.locales import choose_locale
from tegata.web.pages import ErrorPage, FormPostPage, Page
from tegata.web.rendering import Renderer, build_page_headers

_PAGE_PATHS = {"sign_in": "sign-in", "choose_account": "choose-account", "consent": "consent"}


@dataclass(frozen=True, slots=True)
class Front:
    """The parts that pages are made with."""

    services: Services
    renderer: Renderer
    cookies: Cookies

    def page(
        self,
        request: Request,
        page: Page,
        *,
        ui_locales: str | None = None,
        default_locale: str = "en",
        status: int = 200,
        form_targets: tuple[str, ...] = (),
    ) -> Response:
        """Return a page in the language that the client asked for or the browser prefers."""
        locale = self.locale(request, ui_locales, default_locale)
        headers = tuple(
            (name.encode(), value.encode()) for name, value in build_page_headers(page, form_targets).items()
        )
        vary = ((b"vary", b"Accept-Language"), (b"content-language", locale.encode()))
        return Response(status, self.renderer.render(page, locale).encode(), (*headers, *vary))

    def locale(self, request: Request, ui_locales: str | None, default_locale: str) -> str:
        """Return the language for a page."""
        accepted = ", ".join(request.headers(b"accept-language"))[:1000] or None
        return choose_locale(ui_locales, accepted, UI_LOCALES, default_locale)

    def error(self, request: Request, error: OAuthError | Refused) -> Response:
        """Return the error page. The render function of every front-channel route."""
        page = ErrorPage(error.code, error.description, request_id=request.origin.request_id)
        return self.page(request, page, status=error.status)

    def browser(self, request: Request, loaded: LoadedTenant) -> Browser:
        """Return the browser's cookies at this tenant."""
        return self.cookies.read(request, loaded.tenant.name)

    def follow(
        self, request: Request, loaded: LoadedTenant, outcome: Answer | NeedsPage, *, chosen: str | None = None
    ) -> Response:
        """Lead the browser on: to the client with the answer, or to the page that is needed.

        `chosen`: what `choice_of` returned for the person who has just chosen an account; the next page brings it back.
        """
        if isinstance(outcome, NeedsPage):
            return see_other(handle_path(loaded, _PAGE_PATHS[outcome.kind], outcome.handle, chosen))
        tell_error(request.scope, outcome.parameters.get("error"))
        if outcome.target.response_mode == "form_post":
            fields = tuple(outcome.parameters.items())
            return self.page(request, FormPostPage(outcome.target.redirect_uri, fields))
        return see_other(redirect_location(outcome.target.redirect_uri, outcome.parameters))

    def protect(self, loaded: LoadedTenant, browser: Browser, purpose: str) -> FormProtection:
        """Return the token for a form, and the cookie that has to be set if the browser has none yet."""
        secret = browser.csrf_secret or new_secret()
        headers = () if browser.csrf_secret else (self.cookies.form(loaded.tenant.name, secret),)
        return FormProtection(csrf_token(secret, purpose), headers)


@dataclass(frozen=True, slots=True)
class FormProtection:
    """A form's token and the headers that go with the page."""

    token: str
    headers: tuple[tuple[bytes, bytes], ...]


def is_protected(browser: Browser, sent: str | None, purpose: str) -> bool:
    """Whether the form came from a page that we made for this browser and this purpose."""
    if browser.csrf_secret is None or sent is None or not sent.isascii():
        return False
    return hmac.compare_digest(csrf_token(browser.csrf_secret, purpose), sent)


def choice_of(browser: Browser, handle: str) -> str | None:
    """Return the proof that this session was chosen for this request (OIDC Core §3.1.2.1, select_account).

    Only the form of the choice leads to an address that holds it: whoever opens another page by hand has not chosen.
    """
    if browser.csrf_secret is None or browser.session_digest is None:
        return None
    return csrf_token(browser.csrf_secret, f"chosen|{handle}|{browser.session_digest.hex()}")


def has_chosen(request: Request, browser: Browser, handle: str) -> bool:
    """Whether the address holds the proof of `choice_of`."""
    sent, wanted = request.query().get("chosen"), choice_of(browser, handle)
    return sent is not None and wanted is not None and sent.isascii() and hmac.compare_digest(sent, wanted)


def handle_path(loaded: LoadedTenant, page: str, handle: str, chosen: str | None = None) -> str:
    """Return the address of a page about a stored request."""
    query = {"interaction": handle} if chosen is None else {"interaction": handle, "chosen": chosen}
    return f"/{loaded.tenant.name}/{page}?{urlencode(query)}"


def handle_of(request: Request) -> str:
    """Return the stored request that an address names. Raises `Refused` if there is none."""
    handle = request.query().get("interaction")
    if handle is None:
        raise Refused(
            "invalid_request", "this page belongs to a sign-in; please start again at the application", "no_interaction"
        )
    return handle


def see_other(location: str) -> Response:
    """Return 303: the browser goes on with GET, so that a password is never posted again (RFC 9700 §4.12)."""
    return Response(303, b"", ((b"location", location.encode()), NO_STORE, (b"referrer-policy", b"no-referrer")))
