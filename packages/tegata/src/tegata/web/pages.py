"""What each page shows, as plain values; how it looks is `tegata.web.rendering`'s business.

Every text here may come from a person, a client or a tenant and is treated as hostile: it is escaped when rendered, and
an address that is not https (or http on loopback) is left out rather than linked.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignInPage:
    """Asks who the person is.

    `error` is one of `rendering.SIGN_IN_ERRORS`. `signed_in_as` offers to go on with a live session
    (`prompt=select_account`, OIDC Core §3.1.2.1). `cancel` shows the button that answers `access_denied`.
    """

    action: str
    csrf_token: str
    tenant_name: str
    client_name: str | None = None
    client_logo_uri: str | None = None
    client_policy_uri: str | None = None
    client_tos_uri: str | None = None
    username: str = ""
    error: str | None = None
    cancel: bool = False
    signed_in_as: str | None = None


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """One scope to be consented to; `description` is the tenant's own wording and wins over ours."""

    name: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentPage:
    """Asks the person whether the client may have what it asks for.

    `claims` are names from the `claims` parameter (OIDC Core §5.5), `resources` the audiences named (RFC 8707 §2).
    """

    action: str
    csrf_token: str
    tenant_name: str
    client_name: str
    user_name: str
    scopes: tuple[ScopeLine, ...]
    claims: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    client_uri: str | None = None
    client_logo_uri: str | None = None
    client_policy_uri: str | None = None
    client_tos_uri: str | None = None


@dataclass(frozen=True, slots=True)
class SignedOutPage:
    """Says that the session has ended, or that it goes on because the person said no (`signed_out` False).

    `continue_uri` leads back to the application, if it is a web address.
    """

    tenant_name: str
    continue_uri: str | None = None
    signed_out: bool = True


@dataclass(frozen=True, slots=True)
class LogoutConfirmPage:
    """Asks before ending a session that nobody proved to be theirs (OIDC RP-Initiated Logout §2, §6)."""

    action: str
    csrf_token: str
    tenant_name: str
    user_name: str | None = None
    client_name: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Tells a person what went wrong; `error` and `description` are stable English texts to search for."""

    error: str
    description: str
    tenant_name: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class FormPostPage:
    """Carries an authorization response to the client by POST (OAuth 2.0 Form Post Response Mode §2)."""

    action: str
    fields: tuple[tuple[str, str], ...]
    tenant_name: str | None = None


@dataclass(frozen=True, slots=True)
class LandingUser:
    """A demo person whose password is no secret."""

    username: str
    password: str
    roles: tuple[str, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class LandingClient:
    """A demo client whose secret, if it has one, is no secret."""

    client_id: str
    client_secret: str | None
    token_endpoint_auth_method: str
    redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LandingTenant:
    """A demo tenant as the developer's console lists it."""

    name: str
    issuer: str
    users: tuple[LandingUser, ...]
    clients: tuple[LandingClient, ...]
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One line to paste into a shell, and what it does in a few words."""

    purpose: str
    line: str


@dataclass(frozen=True, slots=True)
class Link:
    """An address worth knowing: `path` is absolute on this server."""

    label: str
    path: str


@dataclass(frozen=True, slots=True)
class LandingPage:
    """The developer's console at `/`. Development only: it prints passwords."""

    base_url: str
    tenants: tuple[LandingTenant, ...]
    commands: tuple[Command, ...] = ()
    links: tuple[Link, ...] = ()
    playground_path: str | None = "/playground"
    version: str | None = None


@dataclass(frozen=True, slots=True)
class PlaygroundPage:
    """Runs the code flow in the browser. Development only. Every address must be of this page's own origin."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    end_session_endpoint: str
    client_id: str
    redirect_uri: str
    api_uri: str
    scope: str = "openid profile email read write"
    resource: str | None = None
    users: tuple[LandingUser, ...] = ()


Page = (
    SignInPage
    | ConsentPage
    | SignedOutPage
    | LogoutConfirmPage
    | ErrorPage
    | FormPostPage
    | LandingPage
    | PlaygroundPage
)
