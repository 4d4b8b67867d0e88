"""What roles, scopes and clients may do, as data: role → permissions, scope → methods and permissions, by tenant.

Nothing is allowed that is not written down. A permission is a name such as `research:read`; in a grant a `*` stands for
one whole part of it, and `*` alone for every permission.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tegata_verify.principal import Principal
from tegata_verify.request import HttpRequest

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "WEBSOCKET"})
"""What a scope may name. `GET` covers `HEAD` (RFC 9110 §9.3.2); opening a WebSocket is an act of its own."""

_PART = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
# RFC 6749 §3.3; a role's or a client's name is held to the same, which leaves out spaces and control characters.
_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")
_MOST_PARTS = 8

Path = tuple[str | int, ...]


class PolicyError(ValueError):
    """The policy is not written as it must be. `path` leads to the place, from the outside in.

    >>> str(PolicyError(("scopes", "read", "methods", 0), "'GETT' is no method"))
    "scopes.read.methods[0]: 'GETT' is no method"
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{spell_path(path)}: {problem}")
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class ScopeRule:
    """What a scope allows: these permissions, by these methods, and both must fit.

    >>> ScopeRule(frozenset({"GET"}), frozenset({"*:read"})).covers("HEAD")
    True
    """

    methods: frozenset[str]
    permissions: frozenset[str]

    def covers(self, method: str) -> bool:
        """Tell whether requests of this method are allowed at all."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """What is allowed to the callers of one tenant, or to all of them. `AccessPolicy.find_rules` says which.

    >>> rules = AccessPolicy(roles={"viewer": ["*:read"]}, scopes={"read": {"methods": ["GET"], "permissions": ["*"]}})
    >>> rules.everybody.role_grants({"viewer", "unheard-of"})
    frozenset({'*:read'})
    """

    roles: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    scopes: Mapping[str, ScopeRule] = field(default_factory=lambda: MappingProxyType({}))
    clients: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def covering_scopes(self, method: str) -> frozenset[str]:
        """Return the scopes that allow requests of this method."""
        return frozenset(name for name, rule in self.scopes.items() if rule.covers(method))

    def scope_grants(self, scopes: Iterable[str]) -> frozenset[str]:
        """Return the permissions that these scopes grant together; an unknown one grants nothing."""
        return frozenset().union(*(self.scopes[name].permissions for name in scopes if name in self.scopes))

    def role_grants(self, roles: Iterable[str]) -> frozenset[str]:
        """Return the permissions that these roles grant together; an unknown one grants nothing."""
        return frozenset().union(*(self.roles[name] for name in roles if name in self.roles))

    def known_roles(self, principal: Principal) -> frozenset[str]:
        """Return the caller's roles, as far as they are known here, and what a client has when it acts for itself."""
        own = self.clients.get(principal.client_id or "", frozenset()) if principal.is_service else frozenset()
        return (principal.roles & self.roles.keys()) | own


class AccessPolicy:
    """Who may do what: see `check_permission` for how it decides.

    `roles` maps each role to the permissions it grants. `scopes` maps each scope to `methods` and `permissions`.
    `clients` gives roles to clients that act for themselves, whose tokens seldom have any. `tenants` maps a tenant to
    rules of its own, each of the three parts replacing the common one whole; a tenant that is not there has the common
    rules. A tenant is named by `Principal.tenant`, or by its issuer's address where two issuers could have a tenant of
    the same name. Raises `PolicyError` for anything that is not exactly that.

    >>> policy = AccessPolicy(
    ...     roles={"viewer": ["*:read"], "researcher": ["research:*"]},
    ...     scopes={"read": {"methods": ["GET"], "permissions": ["*:read"]}},
    ... )
    >>> policy.grants(Principal("https://id.example.com", "u", scopes={"read"}, roles={"viewer"}), "beers:read")
    True
    >>> policy.grants(Principal("https://id.example.com", "u", scopes={"read"}, roles={"brewer"}), "beers:read")
    False
    """

    def __init__(
        self,
        *,
        roles: Mapping[str, Collection[str]] | None = None,
        scopes: Mapping[str, Mapping[str, Collection[str]]] | None = None,
        clients: Mapping[str, Collection[str]] | None = None,
        tenants: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        common = {"roles": roles or {}, "scopes": scopes or {}, "clients": clients or {}}
        self.everybody = _build_rules(common, (), PolicyRules())
        self._tenants = {
            name: _build_rules(_mapping(document, ("tenants", name)), ("tenants", name), self.everybody)
            for name, document in _named(tenants or {}, ("tenants",))
        }

    @property
    def scopes(self) -> frozenset[str]:
        """The names of all scopes, whatever the tenant."""
        return frozenset().union(*(rules.scopes for rules in (self.everybody, *self._tenants.values())))

    def find_rules(self, principal: Principal) -> PolicyRules:
        """Return what applies to this caller; another tenant's rules never do."""
        own = self._tenants.get(principal.issuer)
        if own is None and principal.tenant is not None and not is_issuer(principal.tenant):
            own = self._tenants.get(principal.tenant)
        return self.everybody if own is None else own

    def grants(self, principal: Principal, permission: str, *, method: str = "GET") -> bool:
        """Tell whether scope and role both grant a permission, for code that asks in the middle of its work."""
        check_permission_name(permission)
        rules = self.find_rules(principal)
        scopes = principal.scopes & rules.covering_scopes(method)
        return allows(rules.scope_grants(scopes), permission) and allows(
            rules.role_grants(rules.known_roles(principal)), permission
        )


def build_policy(document: object) -> AccessPolicy:
    """Build a policy from a plain mapping, as a file holds it. Raises `PolicyError`; nothing unknown is passed over.

    >>> build_policy({"roles": {"viewer": ["*:read"]}, "scope": {}})
    Traceback (most recent call last):
        ...
    tegata_verify.policy.PolicyError: scope: not known here; write roles, scopes, clients or tenants
    """
    parts = _mapping(document, ())
    _check_members(parts, ("roles", "scopes", "clients", "tenants"), ())
    for name in parts:
        _mapping(parts[name], (name,))
    return AccessPolicy(**parts)


def check_permission_name(permission: str) -> None:
    """Refuse a permission that nobody could be granted. Raises `ValueError`; wildcards are for grants alone."""
    if not _is_permission(permission, wildcards=False):
        raise ValueError(f"{permission!r} is no permission: write parts in lower case between colons, without '*'")


def allows(grants: Iterable[str], permission: str) -> bool:
    """Tell whether one of `grants`, which may hold wildcards, covers `permission`.

    >>> allows({"*:read"}, "research:read"), allows({"research:*"}, "research:data:read"), allows({"*"}, "a:b:c")
    (True, False, True)
    """
    return any(overlap(grant, permission) for grant in grants)


def overlap(left: str, right: str) -> bool:
    """Tell whether there is a permission that both grants cover.

    >>> overlap("*:read", "research:*"), overlap("*:read", "*:write")
    (True, False)
    """
    if "*" in (left, right):
        return True
    lefts, rights = left.split(":"), right.split(":")
    return len(lefts) == len(rights) and all(
        "*" in pair or pair[0] == pair[1] for pair in zip(lefts, rights, strict=True)
    )


def find_method(request: HttpRequest) -> str:
    """Return how a policy calls what the request does: its method, or `WEBSOCKET` for opening one (RFC 6455 §4.1)."""
    return "WEBSOCKET" if request.url.lower().startswith(("ws:", "wss:")) else request.method


def spell_path(path: Path) -> str:
    """Return a path as people write it.

    >>> spell_path(("scopes", "read", "methods", 0))
    'scopes.read.methods[0]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the policy"


def is_issuer(tenant: str) -> bool:
    """Tell whether a tenant is named by its issuer's address rather than by its name."""
    return "://" in tenant


def _build_rules(document: Mapping[str, Any], path: Path, common: PolicyRules) -> PolicyRules:
    _check_members(document, ("roles", "scopes", "clients"), path)
    roles, scopes, clients = common.roles, common.scopes, common.clients
    if "roles" in document:
        roles = _frozen(_read_grants(document["roles"], (*path, "roles")))
    if "scopes" in document:
        scopes = _frozen(_read_scopes(document["scopes"], (*path, "scopes")))
    if "clients" in document:
        clients = _frozen(_read_names(document["clients"], (*path, "clients")))
        # Only what is written here: common clients may have roles that a tenant does without, and get nothing by them.
        _check_clients(clients, roles, (*path, "clients"))
    return PolicyRules(roles, scopes, clients)


def _read_grants(document: object, path: Path) -> dict[str, frozenset[str]]:
    return {name: _permissions(value, (*path, name)) for name, value in _named(document, path)}


def _read_scopes(document: object, path: Path) -> dict[str, ScopeRule]:
    found = {}
    for name, value in _named(document, path):
        here = (*path, name)
        rule = _mapping(value, here)
        _check_members(rule, ("methods", "permissions"), here)
        for needed in ("methods", "permissions"):
            if needed not in rule:
                raise PolicyError(here, f"{needed} are missing; what is not written down is not allowed")
        found[name] = ScopeRule(
            _methods(rule["methods"], (*here, "methods")), _permissions(rule["permissions"], (*here, "permissions"))
        )
    return found


def _read_names(document: object, path: Path) -> dict[str, frozenset[str]]:
    return {name: frozenset(_texts(value, (*path, name))) for name, value in _named(document, path)}


def _check_clients(clients: Mapping[str, frozenset[str]], roles: Mapping[str, Any], path: Path) -> None:
    for client, given in clients.items():
        unknown = sorted(given - roles.keys())
        if unknown:
            raise PolicyError(path, f"the client {client!r} has the role {unknown[0]!r}, which grants nothing here")


def _permissions(value: object, path: Path) -> frozenset[str]:
    texts = _texts(value, path)
    for number, text in enumerate(texts):
        if not _is_permission(text, wildcards=True):
            raise PolicyError(
                (*path, number),
                f"{text!r} is no permission: write parts in lower case between colons, or '*' for a part",
            )
    return frozenset(texts)


def _methods(value: object, path: Path) -> frozenset[str]:
    texts = _texts(value, path)
    for number, text in enumerate(texts):
        if text not in METHODS:
            raise PolicyError((*path, number), f"{text!r} is no method: write {', '.join(sorted(METHODS))}")
    return frozenset(texts)


def _is_permission(text: str, *, wildcards: bool) -> bool:
    parts = text.split(":")
    return len(parts) <= _MOST_PARTS and all((wildcards and part == "*") or _PART.fullmatch(part) for part in parts)


def _texts(value: object, path: Path) -> list[str]:
    # A bare string is a collection of letters, and a mapping one of its names.
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise PolicyError(path, f"is {_kind(value)}; write a list of names")
    found = sorted(value) if isinstance(value, set | frozenset) else list(value)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise PolicyError((*path, number), f"is {_kind(text)}; write a name")
        if text in found[:number]:
            raise PolicyError((*path, number), f"{text!r} is there twice")
    return found


def _named(document: object, path: Path) -> list[tuple[str, Any]]:
    found = list(_mapping(document, path).items())
    for name, _ in found:
        if not _NAME.fullmatch(name):
            raise PolicyError(path, f"{name!r} is no name: no spaces, quotes or control characters")
    return found


def _mapping(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PolicyError(path, f"is {_kind(value)}; write names, each with a colon and what belongs to it")
    for name in value:
        if not isinstance(name, str):
            raise PolicyError(path, f"has the name {name!r}, which is {_kind(name)}; write it in quotes")
    return value


def _check_members(document: Mapping[str, Any], known: tuple[str, ...], path: Path) -> None:
    for name in document:
        if name not in known:
            raise PolicyError((*path, name), f"not known here; write {', '.join(known[:-1])} or {known[-1]}")


def _kind(value: object) -> str:
    kinds: dict[type, str] = {bool: "yes or no", int: "a number", float: "a number", str: "a text", list: "a list"}
    if value is None:
        return "empty"
    return "a group of names" if isinstance(value, Mapping) else kinds.get(type(value), type(value).__name__)


def _frozen(found: dict[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(found)
