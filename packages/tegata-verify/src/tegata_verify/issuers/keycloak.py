"""Realms of Keycloak (Keycloak Server Administration Guide, Securing Applications Guide)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tegata_verify.claims import find_claim, find_names, find_text
from tegata_verify.errors import Reason, TokenError
from tegata_verify.issuers.generic import ClaimPaths, Generic

_SERVICE_ACCOUNT = "service-account-"


@dataclass(frozen=True)
class _Arguments:
    # First in the order of arguments, because fields of the last base come first.
    __slots__ = ()
    realm_url: str
    audiences: Collection[str]


@dataclass(frozen=True, slots=True)
class Keycloak(Generic, _Arguments):
    """A realm of Keycloak; `realm_url` is `{base}/realms/{realm}`, as in the tokens' `iss`.

    A token carries this service's name in `aud` only if the realm has an audience mapper for it, or the user has roles
    of this service's own client: out of the box `aud` is `account`. Roles are the realm's, and those of `role_clients`
    as `{client}:{role}`, so that an `admin` of one client is not taken for another's. `client_ids` limits `azp`.

    >>> realm = Keycloak("https://sso.example.com/realms/beer", audiences=["beer-api"], role_clients=["beer-api"])
    >>> roles = {"beer-api": {"roles": ["brewer"]}, "other": {"roles": ["admin"]}}
    >>> sorted(realm.find_roles({"realm_access": {"roles": ["user"]}, "resource_access": roles}))
    ['beer-api:brewer', 'user']
    """

    issuer: str = field(init=False)
    audiences: Collection[str]
    role_clients: Collection[str] = field(default=(), kw_only=True)
    token_types: Collection[str] = field(default=("jwt", "at+jwt"), kw_only=True)
    required_claims: Collection[str] = field(default=("sub", "azp", "jti"), kw_only=True)
    claim_paths: ClaimPaths = field(
        default=ClaimPaths(roles=("realm_access", "roles"), client_id=("azp",)), kw_only=True
    )

    def __post_init__(self) -> None:
        self._set("issuer", self.realm_url.rstrip("/"))
        base, _, realm = self.issuer.rpartition("/realms/")
        if not base or not realm or "/" in realm:
            raise ValueError("realm_url: such as https://sso.example.com/realms/beer")
        role_clients = {self.role_clients} if isinstance(self.role_clients, str) else self.role_clients
        self._set("role_clients", frozenset(role_clients))
        Generic.__post_init__(self)

    def check(self, claims: Mapping[str, Any]) -> None:
        """Refuse all but access tokens. Raises `TokenError`.

        All tokens of a realm have the header `JWT`; the claim `typ` says what they are: ID, Refresh, Offline, Logout,
        and for access tokens Bearer, or DPoP where they are bound to a key.
        """
        kind = claims.get("typ")
        if kind == "DPoP":
            # Without its binding it would be taken as a bearer token.
            if not find_claim(claims, ("cnf", "jkt")):
                raise TokenError(Reason.MISSING_CLAIM, "cnf")
        elif kind != "Bearer":
            raise TokenError(Reason.WRONG_TOKEN_USE, "typ")

    def find_roles(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return the realm's roles, and those of the configured clients. Raises `TokenError`."""
        roles = Generic.find_roles(self, claims)
        for client in self.role_clients:
            of_client = find_names(claims, ("resource_access", client, "roles"))
            roles |= {f"{client}:{role}" for role in of_client}
        return roles

    def find_tenant(self, claims: Mapping[str, Any]) -> str | None:
        """Return what `claim_paths` says, else the realm."""
        return Generic.find_tenant(self, claims) or self.issuer.rpartition("/")[2]

    def is_service(self, claims: Mapping[str, Any]) -> bool:
        """Tell whether the subject is the account that Keycloak keeps for a client of its own."""
        # People cannot take this name: Keycloak writes it, and it must be that of the client itself.
        name = find_text(claims, ("preferred_username",))
        return name is not None and name == f"{_SERVICE_ACCOUNT}{self.find_client(claims)}".lower()
