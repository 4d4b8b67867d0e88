"""What a Client document must make sense as (RFC 7591 §2, OIDC Registration §2, RFC 9700)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tegata.crypto.keys import parse_public
from tegata.flows.admin.documents import ClientSpec
from tegata.flows.admin.key_times import LONGEST_TOKEN_SECONDS
from tegata.flows.admin.problems import Path
from tegata.protocol import redirect_uris, scopes
from tegata.protocol.errors import OAuthError
from tegata.protocol.subject import problem_with_sector

Fault = tuple[Path, str]

MAX_KEYS = 20
MAX_URI_CHARACTERS = 2_048
_DAY = 86_400
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post"})


@dataclass(frozen=True, slots=True)
class _Subject:
    spec: ClientSpec
    allow_loopback_http: bool


def faults(spec: ClientSpec, *, allow_loopback_http: bool) -> Iterator[Fault]:
    """Yield what is wrong with a client, field by field."""
    subject = _Subject(spec, allow_loopback_http)
    for check in _CHECKS:
        yield from check(subject)


def _redirects(subject: _Subject) -> Iterator[Fault]:
    """RFC 6749 §3.1.2, OIDC RP-Initiated Logout §3.1."""
    spec = subject.spec
    for name in ("redirect_uris", "post_logout_redirect_uris"):
        uris: tuple[str, ...] = getattr(spec, name)
        for index, uri in enumerate(uris):
            message = _too_long(uri) or redirect_uris.problem_with(uri, allow_loopback_http=subject.allow_loopback_http)
            if message:
                yield ("spec", name, index), message
            elif uri in uris[:index]:
                yield ("spec", name, index), "stands twice"
    if "authorization_code" in spec.grant_types and not spec.redirect_uris:
        yield ("spec", "redirect_uris"), "is needed for the grant type authorization_code"


def _grants(subject: _Subject) -> Iterator[Fault]:
    """RFC 7591 §2.1: grant types and response types have to fit together."""
    spec = subject.spec
    if not spec.grant_types:
        yield ("spec", "grant_types"), "must not be empty"
    if "authorization_code" in spec.grant_types and "code" not in spec.response_types:
        yield ("spec", "response_types"), "must hold code for the grant type authorization_code"
    if "refresh_token" in spec.grant_types and "authorization_code" not in spec.grant_types:
        yield ("spec", "grant_types"), "has refresh_token without authorization_code, which is where one comes from"
    if spec.token_endpoint_auth_method == "none" and "client_credentials" in spec.grant_types:
        yield (
            ("spec", "grant_types"),
            "has client_credentials, which a public client cannot use (RFC 6749 §4.4); "
            "choose another token_endpoint_auth_method",
        )


def _credentials(subject: _Subject) -> Iterator[Fault]:
    """RFC 6749 §2.1: a client has the credentials of its method, and no others."""
    spec = subject.spec
    method = spec.token_endpoint_auth_method
    keys = [name for name in ("jwks", "jwks_uri", "jwks_ref") if getattr(spec, name) is not None]
    if method == "private_key_jwt" and not keys:
        yield ("spec", "token_endpoint_auth_method"), "private_key_jwt needs jwks, jwks_uri or jwks_ref"
    if len(keys) > 1:
        yield ("spec", keys[1]), f"stands beside {keys[0]}; a client has one source of keys (OIDC Registration §2)"
    if spec.secret_refs and method not in _SECRET_METHODS:
        yield ("spec", "secret_refs"), f"is not used with token_endpoint_auth_method {method}"
    if spec.secret_refs is not None and not spec.secret_refs and method in _SECRET_METHODS:
        yield ("spec", "secret_refs"), f"is empty, but {method} needs a secret; leave the field out to keep the stored"


def _keys(subject: _Subject) -> Iterator[Fault]:
    if subject.spec.jwks is not None:
        for path, message in jwks_faults(subject.spec.jwks):
            yield ("spec", "jwks", *path), message


def jwks_faults(jwks: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with a client's JWK set (RFC 7517 §5): public keys only, of the kinds Tegata verifies."""
    keys = jwks.get("keys")
    if not isinstance(keys, Sequence) or isinstance(keys, str) or not keys:
        yield ("keys",), "must be a list of public keys (RFC 7517 §5)"
        return
    if len(keys) > MAX_KEYS:
        yield ("keys",), f"has more than {MAX_KEYS} keys"
        return
    for index, key in enumerate(keys):
        if not isinstance(key, Mapping):
            yield ("keys", index), "is not a key"
        elif _PRIVATE_MEMBERS & key.keys():
            yield ("keys", index), "holds a private or symmetric key; only public keys belong here. Replace that key"
        elif message := _problem_with_key(key):
            yield ("keys", index), message


def _problem_with_key(key: Mapping[str, Any]) -> str | None:
    try:
        parse_public(key)
    except ValueError:
        return "is not a usable key: EC P-256, or RSA of at least 2048 bits"
    return None


def _web_addresses(subject: _Subject) -> Iterator[Fault]:
    for name in (
        "jwks_uri",
        "sector_identifier_uri",
        "client_uri",
        "logo_uri",
        "policy_uri",
        "tos_uri",
        "initiate_login_uri",
    ):
        uri: str | None = getattr(subject.spec, name)
        if uri is None:
            continue
        message = _too_long(uri) or redirect_uris.problem_with(uri, allow_loopback_http=subject.allow_loopback_http)
        if message:
            yield ("spec", name), message
        elif urlsplit(uri).scheme not in {"https", "http"}:
            yield ("spec", name), "must be an https address"


def _subject_type(subject: _Subject) -> Iterator[Fault]:
    """OIDC Core §8.1."""
    if message := problem_with_sector(subject.spec):
        yield ("spec", "subject_type"), message


def _scope(subject: _Subject) -> Iterator[Fault]:
    try:
        scopes.parse(subject.spec.scope)
    except OAuthError:
        yield ("spec", "scope"), "must be scope names with one space between them"


def _numbers(subject: _Subject) -> Iterator[Fault]:
    spec = subject.spec
    bounds = (
        ("access_token_lifetime_seconds", 1, LONGEST_TOKEN_SECONDS),
        ("refresh_token_lifetime_seconds", 1, 400 * _DAY),
        ("default_max_age", 0, 400 * _DAY),
    )
    for name, lowest, highest in bounds:
        value: int | None = getattr(spec, name)
        if value is not None and not lowest <= value <= highest:
            yield ("spec", name), f"must be between {lowest} and {highest} seconds"


def _texts(subject: _Subject) -> Iterator[Fault]:
    if len(subject.spec.client_name) > 200 or "\n" in subject.spec.client_name:
        yield ("spec", "client_name"), "must be one line of at most 200 characters"
    for index, audience in enumerate(subject.spec.default_audience or ()):
        if not audience.strip():
            yield ("spec", "default_audience", index), "must not be empty"


def _too_long(uri: str) -> str | None:
    return f"is longer than {MAX_URI_CHARACTERS} characters" if len(uri) > MAX_URI_CHARACTERS else None


_CHECKS: Sequence[Callable[[_Subject], Iterator[Fault]]] = (
    _texts,
    _grants,
    _redirects,
    _credentials,
    _keys,
    _web_addresses,
    _subject_type,
    _scope,
    _numbers,
)
