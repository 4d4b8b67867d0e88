"""The authorization request: the written list of checks, in order (RFC 6749 §4.1.1, OIDC Core §3.1.2).

Until the client and its redirect URI are known, a refusal is a page (`Refused`). After that it goes to the client
(`OAuthError`), by the response mode that `answer_to` found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tegata.protocol import claims as claims_rules
from tegata.protocol import pkce, redirect_uris, resource, scopes
from tegata.protocol.claims import ClaimsRequest
from tegata.protocol.client import Client
from tegata.protocol.errors import (
    Refused,
    invalid_request,
    request_not_supported,
    request_uri_not_supported,
    unauthorized_client,
    unsupported_response_type,
)
from tegata.protocol.parameters import Parameters
from tegata.protocol.policy import TenantPolicy

RESPONSE_MODES = ("query", "form_post")
PROMPTS = ("none", "login", "consent", "select_account")
DISPLAYS = ("page", "popup", "touch", "wap")


@dataclass(frozen=True, slots=True)
class AnswerTo:
    """Where the answer to this request goes, known before anything else is."""

    redirect_uri: str
    redirect_uri_was_sent: bool
    response_mode: str
    state: str | None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that passed every check that needs no session."""

    client_id: str
    answer_to: AnswerTo
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    nonce: str | None
    code_challenge: str | None
    prompts: frozenset[str]
    max_age: int | None
    login_hint: str | None
    id_token_hint: str | None
    ui_locales: str | None
    acr_values: tuple[str, ...]
    claims: ClaimsRequest


def client_id_of(parameters: Parameters) -> str:
    """Return the client_id, or raise `Refused`."""
    value = parameters.get("client_id")
    if value is None:
        raise Refused("invalid_request", "client_id is missing or stands more than once", "client_id_missing")
    return value


def answer_to(parameters: Parameters, client: Client | None, *, allow_loopback_http: bool) -> AnswerTo:
    """Find where the answer goes, or raise `Refused` for an unknown client or redirect URI."""
    if client is None or client.metadata.disabled:
        raise Refused("invalid_client", "client_id is not known here", "client_unknown")
    if "redirect_uri" in parameters.repeated:
        raise Refused("invalid_request", "redirect_uri stands more than once", "redirect_uri_repeated")
    sent = parameters.get("redirect_uri")
    uri = redirect_uris.choose(
        sent,
        client.metadata.redirect_uris,
        must_be_sent="openid" in parameters.get("scope", "").split(),
        allow_loopback_http=allow_loopback_http,
    )
    mode = parameters.get("response_mode", "query")
    return AnswerTo(uri, sent is not None, mode if mode in RESPONSE_MODES else "query", parameters.get("state"))


def parse(parameters: Parameters, client: Client, policy: TenantPolicy, target: AnswerTo) -> AuthorizationRequest:
    """Check the request and return it as a value. Raises `OAuthError`, to be sent to `target`."""
    for check in CHECKS:
        check(parameters, client, policy)
    return AuthorizationRequest(
        client_id=client.client_id,
        answer_to=target,
        scopes=scopes.for_user(parameters.get("scope") or client.metadata.scope, client.metadata, policy),
        resources=resource.parse(parameters.all("resource"), policy),
        nonce=parameters.get("nonce"),
        code_challenge=parameters.get("code_challenge"),
        prompts=_prompts(parameters),
        max_age=_max_age(parameters, client),
        login_hint=parameters.get("login_hint"),
        id_token_hint=parameters.get("id_token_hint"),
        ui_locales=parameters.get("ui_locales"),
        acr_values=tuple(parameters.get("acr_values", "").split()) or client.metadata.default_acr_values,
        claims=claims_rules.parse(parameters.get("claims")),
    )


def _nothing_repeated(parameters: Parameters, client: Client, policy: TenantPolicy) -> None:
    """RFC 6749 §3.1."""
    parameters.check_not_repeated()


def _no_request_object(parameters: Parameters, client: Client, policy: TenantPolicy) -> None:
    """OIDC Core §6: refused by name, because ignoring a request object would ignore what it restricts."""
    if "request" in parameters:
        raise request_not_supported()
    if "request_uri" in parameters:
        raise request_uri_not_supported()


def _response_type_is_code(parameters: Parameters, client: Client, policy: TenantPolicy) -> None:
    """RFC 6749 §3.1.1."""
    if parameters.require("response_type") != "code":
        raise unsupported_response_type("response_type must be code")


def _client_may_use_codes(parameters: Parameters, client: Client, policy: TenantPolicy) -> None:
    """RFC 6749 §4.1.2.1."""
    if "authorization_code" not in client.metadata.grant_types or "code" not in client.metadata.response_types:
        raise unauthorized_client("this client may not use the authorization code grant")


def _response_mode_is_known(parameters: Parameters, client: Client, policy: TenantPolicy) -> None:
    """OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode §2."""
    if parameters.get("response_mode", "query") not in RESPONSE_MODES:
        raise invalid_request("response_mode must be query or form_post", "response_mode")


def _challenge_is_sound(parameters: Parameters, client: Client, policy: TenantPolicy) -> None:
    """RFC 7636 §4.4.1, RFC 9700 §2.1.1."""
    pkce.check_challenge(
        parameters.get("code_challenge"),
        parameters.get("code_challenge_method"),
        required=pkce_required(client, policy),
    )


def _display_is_known(parameters: Parameters, client: Client, policy: TenantPolicy) -> None:
    """OIDC Core §3.1.2.1. All values are accepted, and the pages fit all of them."""
    if parameters.get("display", "page") not in DISPLAYS:
        raise invalid_request("display must be page, popup, touch or wap", "display")


# The order in which a request is checked.
CHECKS = (
    _nothing_repeated,
    _no_request_object,
    _response_type_is_code,
    _client_may_use_codes,
    _response_mode_is_known,
    _display_is_known,
    _challenge_is_sound,
)


def pkce_required(client: Client, policy: TenantPolicy) -> bool:
    """PKCE is for everybody, except that `oidc-legacy` may leave it to a confidential client."""
    profile = client.metadata.profile or policy.profile
    return client.is_public or profile != "oidc-legacy" or client.metadata.require_pkce


def _prompts(parameters: Parameters) -> frozenset[str]:
    prompts = frozenset(parameters.get("prompt", "").split())
    if not prompts <= set(PROMPTS):
        raise invalid_request("prompt must be none, login, consent or select_account", "prompt")
    if "none" in prompts and len(prompts) > 1:
        raise invalid_request("prompt=none stands alone", "prompt")  # OIDC Core §3.1.2.1
    return prompts


def _max_age(parameters: Parameters, client: Client) -> int | None:
    text = parameters.get("max_age")
    if text is None:
        return client.metadata.default_max_age
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise invalid_request("max_age must be a number of seconds", "max_age")
    return int(text)


# Everything that the checks above look at. Other parameters are ignored (RFC 6749 §3.1), so they are not kept either.
_KNOWN = frozenset(
    {
        "acr_values",
        "claims",
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "display",
        "id_token_hint",
        "login_hint",
        "max_age",
        "nonce",
        "prompt",
        "redirect_uri",
        "request",
        "request_uri",
        "resource",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "ui_locales",
    }
)


def stored(parameters: Parameters) -> Mapping[str, str | list[str]]:
    """Return the request in the form that is kept while pages are shown; checked again when it is taken up."""
    kept = _KNOWN | parameters.repeated  # a repeated one stays a fault
    return {name: value for name, value in parameters.document().items() if name in kept}
