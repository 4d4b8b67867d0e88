"""What a document must make sense as, by itself: each check stands in a list, with the section it comes from.

What depends on other documents or on what is stored (roles that exist, secrets that are kept) is checked by `plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from tegata.flows.admin import client_checks, names, user_checks
from tegata.flows.admin.documents import (
    ClientDocument,
    Document,
    RoleDocument,
    TenantDocument,
    UserDocument,
)
from tegata.flows.admin.key_times import LONGEST_TOKEN_SECONDS
from tegata.flows.admin.problems import InvalidDocuments, Path, Problem
from tegata.identity.account import normalize_username
from tegata.protocol import scopes
from tegata.protocol.claims import RESERVED_CLAIMS
from tegata.protocol.errors import OAuthError
from tegata.protocol.policy import TenantPolicy

Fault: TypeAlias = tuple[Path, str]

MAX_ITEMS = 1_000
_DAY = 86_400
# Field of TenantPolicy -> shortest and longest value in seconds.
LIFETIMES = {
    "access_token_lifetime_seconds": (1, LONGEST_TOKEN_SECONDS),
    "id_token_lifetime_seconds": (1, LONGEST_TOKEN_SECONDS),
    "refresh_token_lifetime_seconds": (1, 400 * _DAY),
    "refresh_token_grace_seconds": (0, 300),
    "authorization_code_lifetime_seconds": (1, 600),  # RFC 6749 §4.1.2: ten minutes at most
    "interaction_lifetime_seconds": (30, _DAY),
    "session_lifetime_seconds": (60, 400 * _DAY),
    "session_idle_seconds": (60, 400 * _DAY),
}


def check_documents(documents: Sequence[Document], *, allow_loopback_http: bool) -> None:
    """Raise `InvalidDocuments` with the faults of all documents, in their order."""
    problems = [
        document.problem(path, message)
        for document in documents
        for path, message in _faults(document, allow_loopback_http)
    ]
    problems.extend(_repeated(documents))
    if problems:
        raise InvalidDocuments(problems)


def _faults(document: Document, allow_loopback_http: bool) -> Iterator[Fault]:
    content = document.content
    if message := names.problem_with_tenant_name(document.tenant):
        yield ("metadata", "name" if isinstance(content, TenantDocument) else "tenant"), message
    yield from _long_lists(document.raw.value)
    match content:
        case TenantDocument():
            for check in _TENANT_CHECKS:
                yield from check(content.spec)
        case ClientDocument():
            yield from _name(names.problem_with_client_id(content.metadata.name))
            yield from client_checks.faults(content.spec, allow_loopback_http=allow_loopback_http)
        case RoleDocument():
            yield from _name(names.problem_with_role_name(content.metadata.name))
            yield from _unique(content.spec.permissions, ("spec", "permissions"))
            yield from _filled(content.spec.permissions, ("spec", "permissions"))
        case UserDocument():
            yield from _name(names.problem_with_username(content.metadata.name))
            yield from user_checks.faults(content.spec)


def _name(message: str | None) -> Iterator[Fault]:
    if message is not None:
        yield ("metadata", "name"), message


def _repeated(documents: Iterable[Document]) -> Iterator[Problem]:
    seen: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        name = document.content.metadata.name
        key = normalize_username(name) if document.content.kind == "User" else name
        first = seen.setdefault((document.content.kind, document.tenant, key), document)
        if first is not document:
            where = f"{first.raw.source}:{first.raw.line_of(('metadata', 'name'))}"
            yield document.problem(("metadata", "name"), f"stands twice; the first one is at {where}")


def _long_lists(value: Any, path: Path = ()) -> Iterator[Fault]:
    if isinstance(value, dict | list) and len(value) > MAX_ITEMS:
        yield path, f"has more than {MAX_ITEMS} entries"
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _long_lists(part, (*path, name))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _long_lists(part, (*path, index))


def _scopes(policy: TenantPolicy) -> Iterator[Fault]:
    """RFC 6749 §3.3; the scopes of OpenID Connect exist at every tenant."""
    yield from _unique([scope.name for scope in policy.scopes], ("spec", "scopes"))
    if len(policy.scopes) > scopes.MAX_SCOPES:
        yield ("spec", "scopes"), f"has more than {scopes.MAX_SCOPES} entries"
    for index, scope in enumerate(policy.scopes):
        path: Path = ("spec", "scopes", index)
        if scope.name in scopes.OPENID_SCOPES:
            yield (*path, "name"), "is a scope of OpenID Connect, which every tenant has already"
        elif not is_scope(scope.name):
            yield (*path, "name"), 'must be printable ASCII without spaces, " and \\'
        for locale in scope.description:
            if not locale.replace("-", "").isalnum() or not locale.isascii() or len(locale) > 35:
                yield (*path, "description", locale), "is not a language tag such as en or ja"


def _resources(policy: TenantPolicy) -> Iterator[Fault]:
    """RFC 8707 §2: an absolute URI without fragment."""
    known = {scope.name for scope in policy.scopes} | set(scopes.OPENID_SCOPES)
    yield from _unique([resource.identifier for resource in policy.resources], ("spec", "resources"))
    for index, resource in enumerate(policy.resources):
        path: Path = ("spec", "resources", index)
        if message := problem_with_resource(resource.identifier):
            yield (*path, "identifier"), message
        for place, scope in enumerate(resource.scopes or ()):
            if scope not in known:
                yield (*path, "scopes", place), "is not a scope of this tenant; add it to spec.scopes"
    yield from _filled(policy.default_audience, ("spec", "default_audience"))
    yield from _unique(policy.default_audience, ("spec", "default_audience"))


def _mappings(policy: TenantPolicy) -> Iterator[Fault]:
    """A mapping never sets what the protocol sets itself (`protocol.claims`)."""
    known = {scope.name for scope in policy.scopes} | set(scopes.OPENID_SCOPES)
    places: list[tuple[Path, Any]] = [
        (("spec", "access_token_claims"), policy.access_token_claims),
        (("spec", "id_token_claims"), policy.id_token_claims),
    ]
    for scope, mapping in policy.userinfo_claims.items():
        places.append((("spec", "userinfo_claims", scope), mapping))
        if scope not in known:
            yield ("spec", "userinfo_claims", scope), "is not a scope of this tenant; add it to spec.scopes"
    for path, mapping in places:
        for claim, source in mapping.items():
            if claim in RESERVED_CLAIMS:
                yield (*path, claim), "is set by the protocol and cannot be mapped"
            elif not claim or not source:
                yield (*path, claim), "must name a claim and its source"


def _lifetimes(policy: TenantPolicy) -> Iterator[Fault]:
    for name, (shortest, longest) in LIFETIMES.items():
        if not shortest <= getattr(policy, name) <= longest:
            yield ("spec", name), f"must be between {shortest} and {longest} seconds"
    if policy.session_idle_seconds > policy.session_lifetime_seconds:
        yield ("spec", "session_idle_seconds"), "must not be longer than session_lifetime_seconds"


def _display(policy: TenantPolicy) -> Iterator[Fault]:
    if len(policy.display_name) > 200 or "\n" in policy.display_name:
        yield ("spec", "display_name"), "must be one line of at most 200 characters"


_TENANT_CHECKS: Sequence[Callable[[TenantPolicy], Iterator[Fault]]] = (
    _display,
    _scopes,
    _resources,
    _mappings,
    _lifetimes,
)


def is_scope(name: str) -> bool:
    """Whether `name` is exactly one scope token."""
    try:
        return scopes.parse(name) == (name,)
    except OAuthError:
        return False


def problem_with_resource(identifier: str) -> str | None:
    """Return what is wrong with a resource identifier (RFC 8707 §2), or None."""
    if not identifier.isascii() or not identifier.isprintable() or " " in identifier:
        return "contains characters that are not allowed in a URI"
    try:
        parts = urlsplit(identifier)
    except ValueError:
        return "is not a URI"
    if not parts.scheme or not (parts.netloc or parts.path):
        return "must be an absolute URI such as https://api.example.com"
    return "must not have a fragment" if "#" in identifier else None


def _unique(values: Sequence[str], path: Path) -> Iterator[Fault]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield (*path, index), "stands twice"


def _filled(values: Sequence[str], path: Path) -> Iterator[Fault]:
    for index, value in enumerate(values):
        if not value.strip():
            yield (*path, index), "must not be empty"
