"""A person's account in one tenant: identifiers, claims, roles. Pure values and normalisation."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tegata.identifiers import UserId


@dataclass(frozen=True, slots=True)
class User:
    """A user as the flows see it. `claims` holds OIDC Core §5.1 claims and the tenant's own ones."""

    user_id: UserId
    username: str
    claims: Mapping[str, Any] = field(repr=False)
    roles: tuple[str, ...] = ()
    disabled: bool = False
    updated_at: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Role:
    """A role of a tenant with its permissions (seed 002: RBAC)."""

    name: str
    description: str = ""
    permissions: tuple[str, ...] = ()


def normalize_username(text: str) -> str:
    """Return the form under which a username or e-mail address is looked up.

    NFKC and case folding, so that full-width and upper-case input finds the account (PRECIS, RFC 8265 §3.3, without
    its refusals: what may be registered is decided when an account is made, not when somebody types). Normalised
    again after folding, which can leave a letter and its accent apart.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
