"""Claims about a person: which a scope or the `claims` parameter asks for, and their values (OIDC Core §5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tegata.identity.account import User
from tegata.protocol.errors import invalid_request
from tegata.protocol.policy import TenantPolicy

SCOPE_CLAIMS: Mapping[str, tuple[str, ...]] = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}
STANDARD_CLAIMS = tuple(claim for claims in SCOPE_CLAIMS.values() for claim in claims)
# Claims that the protocol sets itself: neither a mapping nor the `claims` parameter may put a person's data there.
RESERVED_CLAIMS = frozenset(
    {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "nonce", "at_hash", "c_hash", "s_hash"}
    | {"auth_time", "acr", "amr", "azp", "sid", "cnf", "act", "may_act", "typ", "token_type", "active"}
)
_MAX_CLAIMS_CHARACTERS = 8192
_MAX_NAMES = 100
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class ClaimsRequest:
    """The `claims` parameter (OIDC Core §5.5): name -> None or the object with essential, value, values."""

    userinfo: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    id_token: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON object that `from_document` reads; empty for an empty request."""
        parts = {"userinfo": dict(self.userinfo), "id_token": dict(self.id_token)}
        return {name: part for name, part in parts.items() if part}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ClaimsRequest:
        return cls(document.get("userinfo", {}), document.get("id_token", {}))

    def personal_names(self) -> frozenset[str]:
        """Return the names of requested claims that are about the person, for consent."""
        return frozenset(name for name in (*self.userinfo, *self.id_token) if name not in RESERVED_CLAIMS)

    def requested_subject(self) -> str | None:
        """Return the subject that the client insists on (OIDC Core §5.5.1), if any."""
        wanted = self.id_token.get("sub") or {}
        value = wanted.get("value")
        return value if isinstance(value, str) else None

    def essential_acr(self) -> tuple[str, ...] | None:
        """Return the acr values of which one must be reached (OIDC Core §5.5.1.1), or None."""
        wanted = self.id_token.get("acr") or {}
        if wanted.get("essential") is not True:
            return None
        values = wanted.get("values") if "values" in wanted else [wanted["value"]] if "value" in wanted else None
        if not isinstance(values, list):
            return None
        return tuple(value for value in values if isinstance(value, str))


def parse(text: str | None) -> ClaimsRequest:
    """Parse the `claims` parameter. Raises `invalid_request`."""
    if text is None:
        return ClaimsRequest()
    if len(text) > _MAX_CLAIMS_CHARACTERS:
        raise invalid_request("claims is too long", "claims_malformed")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid_request("claims is not JSON", "claims_malformed") from None
    if not isinstance(document, dict):
        raise invalid_request("claims is not a JSON object", "claims_malformed")
    return ClaimsRequest(_member(document, "userinfo"), _member(document, "id_token"))


def _member(document: Mapping[str, Any], name: str) -> Mapping[str, Mapping[str, Any] | None]:
    member = document.get(name)
    if member is None:
        return {}
    if not isinstance(member, dict) or len(member) > _MAX_NAMES:
        raise invalid_request(f"claims.{name} is not an object of claims", "claims_malformed")
    # PostgreSQL's jsonb takes neither NUL, lone surrogates nor NaN; no claim has them in its name or wanted value.
    if not _is_storable(member):
        raise invalid_request(f"claims.{name} holds characters that are not text", "claims_malformed")
    for wanted in member.values():
        if wanted is not None and not isinstance(wanted, dict):
            raise invalid_request(f"each member of claims.{name} is null or an object", "claims_malformed")
    return member


def _is_storable(value: object) -> bool:
    if not _is_shallow(value, _MAX_DEPTH):
        return False
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except ValueError:
        return False
    return "\\u0000" not in text


def _is_shallow(value: object, depth: int) -> bool:
    """Whether no deeper stack than this one is needed to write `value` again, wherever that will happen."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in inner)


def for_userinfo(user: User, scopes: Iterable[str], request: ClaimsRequest, policy: TenantPolicy) -> dict[str, Any]:
    """Return the personal claims of a UserInfo answer (OIDC Core §5.3.2): by scope, then those asked for by name."""
    answer: dict[str, Any] = {}
    for scope in scopes:
        answer.update(mapped(user, {name: name for name in SCOPE_CLAIMS.get(scope, ())}))
        answer.update(mapped(user, policy.userinfo_claims.get(scope, {})))
    return {**answer, **_by_name(user, request.userinfo, policy)}


def for_id_token(user: User, request: ClaimsRequest, policy: TenantPolicy) -> dict[str, Any]:
    """Return the personal claims of an ID token: the tenant's mapping and what the client asked for by name."""
    return {**mapped(user, policy.id_token_claims), **_by_name(user, request.id_token, policy)}


def _by_name(user: User, names: Iterable[str], policy: TenantPolicy) -> dict[str, Any]:
    """Return claims asked for by name: standard ones and those the tenant maps somewhere, nothing else it stores."""
    wanted = [name for name in names if name not in RESERVED_CLAIMS]
    if not wanted:
        return {}
    sources = {name: name for name in STANDARD_CLAIMS}
    for mapping in (policy.access_token_claims, policy.id_token_claims, *policy.userinfo_claims.values()):
        sources.update(mapping)
    return mapped(user, {name: sources[name] for name in wanted if name in sources})


def mapped(user: User, mapping: Mapping[str, str]) -> dict[str, Any]:
    """Apply a claim mapping (claim -> source). Absent sources and reserved names are left out."""
    answer = {}
    for claim, source in mapping.items():
        value = _source(user, source)
        if value is not None and claim not in RESERVED_CLAIMS:
            answer[claim] = value
    return answer


def _source(user: User, source: str) -> Any:
    if source == "roles":
        return list(user.roles)
    if source == "username":
        return user.username
    if source == "updated_at":
        return int(user.updated_at)
    value = user.claims.get(source)
    if source == "preferred_username" and value is None:
        return user.username
    if source in {"email_verified", "phone_number_verified"}:
        # False for an address nobody has checked, and absent where there is no address (pitfalls P34).
        return value is True if user.claims.get(source.removesuffix("_verified")) is not None else None
    return value
