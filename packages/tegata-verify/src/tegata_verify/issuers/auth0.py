"""Auth0 (Auth0 Docs, "Access Token Profiles")."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tegata_verify.claims import find_names, find_text
from tegata_verify.issuers.generic import ClaimPaths, Generic
from tegata_verify.issuers.id_tokens import refuse_id_token

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True)
class _Arguments:
    # First in the order of arguments, because fields of the last base come first.
    __slots__ = ()
    domain: str
    audiences: Collection[str]


@dataclass(frozen=True, slots=True)
class Auth0(Generic, _Arguments):
    """A tenant of Auth0 by its domain (or custom domain), for an API whose identifier is in `audiences`.

    Both profiles of access tokens are taken. `permissions` are there if the API adds them; roles only if an action adds
    a claim, whose namespaced name is `roles_claim`. The tenant is `org_id`, for organizations. `client_ids` limits
    `azp` and `client_id`.

    >>> auth0 = Auth0("brewery.eu.auth0.com", audiences=["https://api.example.com"])
    >>> auth0.issuer
    'https://brewery.eu.auth0.com/'
    >>> auth0.find_permissions({"permissions": ["read:beers"]})
    frozenset({'read:beers'})
    """

    issuer: str = field(init=False)
    audiences: Collection[str]
    roles_claim: str | None = field(default=None, kw_only=True)
    algorithms: Collection[str] = field(default=("RS256", "PS256"), kw_only=True)
    token_types: Collection[str] = field(default=("jwt", "at+jwt"), kw_only=True)
    required_claims: Collection[str] = field(default=("sub",), kw_only=True)
    claim_paths: ClaimPaths = field(
        default=ClaimPaths(roles=(), client_id=("azp",), permissions=("permissions",), tenant=("org_id",)), kw_only=True
    )

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.domain):
            raise ValueError("domain: a host name alone, such as brewery.eu.auth0.com")
        self._set("issuer", f"https://{self.domain}/")
        Generic.__post_init__(self)

    def check(self, claims: Mapping[str, Any]) -> None:
        """Refuse ID tokens. Raises `TokenError`.

        They have the header of the default profile; they name no client, or are meant for it.
        """
        refuse_id_token(claims, self.find_client(claims))

    def find_client(self, claims: Mapping[str, Any]) -> str | None:
        """Return the client: `azp`, in the RFC 9068 profile `client_id`. Raises `TokenError`."""
        return Generic.find_client(self, claims) or find_text(claims, ("client_id",))

    def find_roles(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return the roles of `roles_claim`. Raises `TokenError`."""
        # The name is an address with dots and slashes, and one name all the same.
        named = find_names(claims, (self.roles_claim,)) if self.roles_claim is not None else frozenset()
        return named | Generic.find_roles(self, claims)

    def is_service(self, claims: Mapping[str, Any]) -> bool:
        """Tell whether a client acts for itself: its subject is its own name with a suffix."""
        client_id = self.find_client(claims)
        return client_id is not None and claims.get("sub") == f"{client_id}@clients"
