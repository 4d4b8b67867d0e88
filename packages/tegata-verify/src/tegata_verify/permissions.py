"""Decides whether a principal may act: its token's scope and its own role must both allow it.

An `AccessPolicy` says what roles and scopes allow; without one, scopes and roles are compared by name. An act may also
want a stronger or fresher login than the token speaks of.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Set
from dataclasses import dataclass

from tegata_verify.errors import InsufficientScope, InsufficientUserAuthentication, Reason
from tegata_verify.policy import AccessPolicy, allows, check_permission_name, is_issuer, overlap
from tegata_verify.principal import Principal

_CLOCK_DIFFERENCE_SECONDS = 30  # a login may lie this far ahead: the issuer's clock is another one


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one act needs: all of `scopes`, one of `roles`, all of `permissions`, one of `tenants`, and a login.

    `acr` are the authentication contexts that will do, the preferred one first; `max_age` is how many seconds ago the
    login may have been. What is empty or None is not asked for.

    >>> build_requirement(scope="read write", role="brewer", max_age=300).max_age
    300
    """

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    acr: tuple[str, ...] = ()
    max_age: int | None = None


def build_requirement(
    *,
    scope: str | Collection[str] | None = None,
    role: str | Collection[str] | None = None,
    permission: str | Collection[str] | None = None,
    tenant: str | Collection[str] | None = None,
    acr: str | Collection[str] | None = None,
    max_age: int | None = None,
) -> Requirement:
    """Build a requirement from what a developer writes beside an endpoint.

    `scope`: one scope, several in one string separated by spaces, or a collection: **all of them** are needed.
    `role`: one role, or a collection: **any one of them** is enough. Where both are given both must allow, so that
    a client with a narrow token does not act with its user's whole role. `permission`: one or a collection, **all** are
    needed, and an `AccessPolicy` says who has them; without one only what the issuer itself grants counts.
    `tenant`: one or a collection, **any one**, by name or by the issuer's address. `acr`: as `scope`, but **any one**,
    the preferred first. `max_age`: seconds since the login.
    Raises `ValueError` for an empty argument: it is more likely a mistake than the wish to let everybody in.
    """
    scopes, acrs = _words(scope), _words(acr)
    roles, permissions, tenants = _names(role), _names(permission), _names(tenant)
    for name in permissions:
        check_permission_name(name)
    if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 1):
        raise ValueError("max_age: whole seconds, at least one, because every login is in the past")
    return Requirement(
        frozenset(scopes), frozenset(roles), frozenset(permissions), frozenset(tenants), tuple(acrs), max_age
    )


def check_permission(
    principal: Principal,
    requirement: Requirement,
    *,
    policy: AccessPolicy | None = None,
    method: str | None = None,
    now: float | None = None,
) -> None:
    """Refuse the act unless scope and role both allow it, in this tenant, with a good enough login.

    Raises `InsufficientScope` (RFC 6750 §3.1, RFC 9068 §5) or `InsufficientUserAuthentication` (RFC 9470 §3).
    Scope is judged before role, and only a lack of scope names scopes to the client: asking for more would not mend a
    missing role. The login comes last: nobody is sent to sign in again for what remains forbidden.
    With a `policy`, `method` must be given, and only names that it knows count. `now` is in seconds since 1970.
    """
    check_tenant(principal, requirement.tenants)
    scopes, roles = principal.scopes, principal.roles
    if policy is not None:
        rules = policy.find_rules(principal)
        scopes, roles = scopes & rules.scopes.keys(), rules.known_roles(principal)
    if not requirement.scopes <= scopes:
        raise InsufficientScope(Reason.MISSING_SCOPE, sorted(requirement.scopes))
    if requirement.roles and requirement.roles.isdisjoint(roles):
        raise InsufficientScope(Reason.MISSING_ROLE)
    if policy is not None:
        check_policy(policy, principal, requirement.permissions, method)
    elif not requirement.permissions <= principal.permissions:
        raise InsufficientScope(Reason.MISSING_PERMISSION, detail="there is no policy, and the issuer grants others")
    check_login(principal, requirement, now=time.time() if now is None else now)


def check_tenant(principal: Principal, tenants: Set[str]) -> None:
    """Refuse a caller of another tenant. Raises `InsufficientScope`.

    An address is compared with the issuer alone, and a name with the tenant alone: no claim can pass for an issuer.
    """
    if tenants and not any(
        tenant == (principal.issuer if is_issuer(tenant) else principal.tenant) for tenant in tenants
    ):
        raise InsufficientScope(Reason.WRONG_TENANT)


def check_policy(policy: AccessPolicy, principal: Principal, permissions: Set[str], method: str | None) -> None:
    """Refuse what the policy does not allow. Raises `InsufficientScope`.

    One of the token's scopes must cover the method. Each permission must be granted by such a scope **and** by a role.
    Where no permission is named, scope and role must at least have one in common: a viewer does not write with the
    scope `write`.
    """
    if method is None:
        raise ValueError("a policy judges methods: say which one")
    rules = policy.find_rules(principal)
    covering = rules.covering_scopes(method)
    if not covering:
        raise InsufficientScope(Reason.NOT_IN_POLICY, detail=f"no scope covers {method}")
    if covering.isdisjoint(principal.scopes):
        # Each of them would do, and there is no way to say "one of": with one alone the client knows what to ask for.
        raise InsufficientScope(Reason.MISSING_SCOPE, covering if len(covering) == 1 else ())
    by_scope = rules.scope_grants(principal.scopes & covering)
    by_role = rules.role_grants(rules.known_roles(principal))
    for permission in sorted(permissions):
        if not allows(by_role, permission):
            raise InsufficientScope(Reason.MISSING_PERMISSION, detail=f"{permission}: no role grants it")
        if not allows(by_scope, permission):
            fitting = [name for name in covering if allows(rules.scopes[name].permissions, permission)]
            raise InsufficientScope(
                Reason.MISSING_SCOPE, fitting if len(fitting) == 1 else (), f"{permission}: no scope grants it"
            )
    if not permissions and not any(overlap(left, right) for left in by_scope for right in by_role):
        raise InsufficientScope(Reason.MISSING_PERMISSION, detail="scope and role have none in common")


def check_login(principal: Principal, requirement: Requirement, *, now: float) -> None:
    """Refuse a login that is not strong or not recent enough. Raises `InsufficientUserAuthentication`. RFC 9470 §3.

    A token that does not say how or when its user signed in is refused too. The challenge names both demands, so that
    one more login is enough.
    """
    reason = None
    if requirement.acr and principal.acr not in requirement.acr:
        reason = Reason.WEAK_AUTHENTICATION
    elif requirement.max_age is not None and not _is_recent(principal.auth_time, requirement.max_age, now):
        reason = Reason.OLD_AUTHENTICATION
    if reason is not None:
        raise InsufficientUserAuthentication(reason, acr_values=requirement.acr, max_age=requirement.max_age)


def _is_recent(auth_time: float | None, max_age: int, now: float) -> bool:
    return auth_time is not None and -_CLOCK_DIFFERENCE_SECONDS <= now - auth_time <= max_age


def _words(value: str | Collection[str] | None) -> list[str]:
    return _checked(value.split() if isinstance(value, str) else value, given=value is not None)


def _names(value: str | Collection[str] | None) -> list[str]:
    return _checked([value] if isinstance(value, str) else value, given=value is not None)


def _checked(value: Collection[str] | None, *, given: bool) -> list[str]:
    names = sorted(value) if isinstance(value, Set) else list(value or ())
    if given and not all(names or [""]):
        raise ValueError("a requirement that names nothing")
    return names
