"""Decides whether a principal may act: its token's scope and its own role must both allow it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tegata_verify.errors import InsufficientScope, Reason
from tegata_verify.principal import Principal


@dataclass(frozen=True, slots=True)
class Requirement:
    """All of `scopes`, and one of `roles` if there are any."""

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()


def build_requirement(
    *, scope: str | Collection[str] | None = None, role: str | Collection[str] | None = None
) -> Requirement:
    """Build a requirement from what a developer writes beside an endpoint.

    `scope`: one scope, several in one string separated by spaces, or a collection: **all of them** are needed.
    `role`: one role, or a collection: **any one of them** is enough. Where both are given both must allow, so that
    a client with a narrow token does not act with its user's whole role. Raises `ValueError` for an empty argument:
    it is more likely a mistake than the wish to let everybody in.
    """
    scopes = frozenset(scope.split() if isinstance(scope, str) else scope or ())
    roles = frozenset({role} if isinstance(role, str) else role or ())
    if (scope is not None and not all(scopes or [""])) or (role is not None and not all(roles or [""])):
        raise ValueError("a requirement that names nothing")
    return Requirement(scopes, roles)


def check_permission(principal: Principal, requirement: Requirement) -> None:
    """Refuse the act unless scope and role both allow it. Raises `InsufficientScope`. RFC 6750 §3.1, RFC 9068 §5.

    Scope is judged first, and only a lack of scope names scopes to the client: asking for more would not mend a
    missing role.
    """
    if not requirement.scopes <= principal.scopes:
        raise InsufficientScope(Reason.MISSING_SCOPE, sorted(requirement.scopes))
    if requirement.roles and requirement.roles.isdisjoint(principal.roles):
        raise InsufficientScope(Reason.MISSING_ROLE)
