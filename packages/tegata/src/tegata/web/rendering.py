"""Turns a page's values into HTML. Everything is escaped; no template holds a script, a style or an event handler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tegata.protocol.redirect_uris import problem_with
from tegata.web.assets import Assets, build_content_security_policy, is_local_path, is_web_address
from tegata.web.locales import DEFAULT_LOCALE, Catalogue, printable
from tegata.web.pages import (
    ConsentPage,
    ErrorPage,
    FormPostPage,
    LandingPage,
    LogoutConfirmPage,
    Page,
    PlaygroundPage,
    SignedOutPage,
    SignInPage,
)

_TEMPLATES: Mapping[type[Page], str] = MappingProxyType(
    {
        SignInPage: "sign_in.html",
        ConsentPage: "consent.html",
        SignedOutPage: "signed_out.html",
        LogoutConfirmPage: "logout_confirm.html",
        ErrorPage: "error.html",
        FormPostPage: "form_post.html",
        LandingPage: "landing.html",
        PlaygroundPage: "playground.html",
    }
)

# Keys that templates look up by a value. A value not listed gets the `None` entry.
SIGN_IN_ERRORS: Mapping[str | None, str] = MappingProxyType(
    {
        "wrong_credentials": "sign_in_error_wrong_credentials",
        "missing_credentials": "sign_in_error_missing_credentials",
        "throttled": "sign_in_error_throttled",
        "session_expired": "sign_in_error_session_expired",
        None: "sign_in_error_other",
    }
)
ERROR_TITLES: Mapping[str | None, str] = MappingProxyType(
    {
        "not_found": "error_title_not_found",
        "interaction_expired": "error_title_expired",
        "server_error": "error_title_server",
        "temporarily_unavailable": "error_title_server",
        None: "error_title_request",
    }
)
ERROR_ADVICE: Mapping[str | None, str] = MappingProxyType(
    {
        "not_found": "error_advice_not_found",
        "interaction_expired": "error_advice_expired",
        "server_error": "error_advice_server",
        "temporarily_unavailable": "error_advice_server",
        None: "error_advice_request",
    }
)
SCOPE_TEXTS: Mapping[str | None, str] = MappingProxyType(
    {
        "openid": "scope_openid",
        "profile": "scope_profile",
        "email": "scope_email",
        "address": "scope_address",
        "phone": "scope_phone",
        "offline_access": "scope_offline_access",
        "read": "scope_read",
        "write": "scope_write",
        "admin": "scope_admin",
        None: "scope_other",
    }
)
# OIDC Core §5.1. Claims that say the same to a person share a text.
CLAIM_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "name": "claim_name",
        "given_name": "claim_name",
        "family_name": "claim_name",
        "middle_name": "claim_name",
        "nickname": "claim_nickname",
        "preferred_username": "claim_preferred_username",
        "profile": "claim_profile",
        "picture": "claim_picture",
        "website": "claim_website",
        "email": "claim_email",
        "email_verified": "claim_email",
        "gender": "claim_gender",
        "birthdate": "claim_birthdate",
        "zoneinfo": "claim_zoneinfo",
        "locale": "claim_locale",
        "phone_number": "claim_phone_number",
        "phone_number_verified": "claim_phone_number",
        "address": "claim_address",
        "roles": "claim_roles",
        "department": "claim_department",
    }
)


class Renderer:
    """Renders pages; makes its templates ready once and holds no state after that."""

    def __init__(self, assets: Assets, catalogues: Mapping[str, Catalogue]) -> None:
        environment = Environment(
            loader=PackageLoader("tegata.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_clean,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals.update(
            asset=assets.url,
            address=_address,
            redirect_target=_redirect_target,
            link=_link,
            sign_in_errors=SIGN_IN_ERRORS,
            error_titles=ERROR_TITLES,
            error_advice=ERROR_ADVICE,
            scope_texts=SCOPE_TEXTS,
            claim_texts=CLAIM_TEXTS,
        )
        self._templates = {kind: environment.get_template(name) for kind, name in _TEMPLATES.items()}
        self._catalogues = dict(catalogues)

    def render(self, page: Page, locale: str) -> str:
        """Return the page as HTML in the language, or in English if it has no words for it.

        Raises ValueError if a form would lead where no form of ours may lead.
        """
        catalogue = self._catalogues.get(locale) or self._catalogues[DEFAULT_LOCALE]
        return self._templates[type(page)].render(page=page, t=catalogue.text, lang=catalogue.locale)


def build_page_headers(page: Page, form_targets: Iterable[str] = ()) -> dict[str, str]:
    """Return the headers every answer with this page carries.

    `form_targets` is what the forms of the page may lead to: pass the redirect URI of the request on sign-in and
    consent, and the post-logout redirect URI on the logout question. RFC 9700 §4.16 (clickjacking).
    """
    logo_uri = page.client_logo_uri if isinstance(page, SignInPage | ConsentPage) else None
    kind, referrer = "document", "same-origin"
    if isinstance(page, PlaygroundPage):
        kind = "playground"
    elif isinstance(page, FormPostPage):
        # `same-origin` would turn the Origin header of the cross-site POST into `null` (Fetch §3.2).
        kind, referrer = "form_post", "strict-origin"
        form_targets = (page.action, *form_targets)
    return {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": build_content_security_policy(kind, form_targets=form_targets, logo_uri=logo_uri),
        "referrer-policy": referrer,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


def _clean(value: object) -> object:
    """Drop what HTML cannot carry from every value printed, whatever it came from."""
    if isinstance(value, Markup):
        return Markup(printable(value))  # noqa: S704 - removing characters cannot undo the escaping
    return printable(value) if isinstance(value, str) else value


def _link(uri: str | None) -> str | None:
    """Return the address if it may be linked or shown as an image, else nothing."""
    return uri if uri is not None and is_web_address(uri) else None


def _address(target: str) -> str:
    """Return the address of a form or of one of our own pages; raises ValueError for what could never be one."""
    if not is_local_path(target) and not is_web_address(target):
        raise ValueError("neither a local path nor a web address")
    return target


def _redirect_target(uri: str) -> str:
    """Return a client's redirect URI for a form; raises ValueError for what could never have been registered."""
    if problem_with(uri, allow_loopback_http=True) is not None:
        raise ValueError("not an address that a client may register")
    return uri
