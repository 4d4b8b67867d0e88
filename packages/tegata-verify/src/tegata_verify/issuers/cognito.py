"""Amazon Cognito user pools (Amazon Cognito Developer Guide, "Understanding the access token")."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tegata_verify.claims import audience_of
from tegata_verify.errors import Reason, TokenError
from tegata_verify.issuers.addresses import is_loopback
from tegata_verify.issuers.generic import ClaimPaths, Generic

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}")
_POOL = re.compile(r"[0-9A-Za-z]{1,55}")


@dataclass(frozen=True)
class _Arguments:
    # First in the order of arguments, because fields of the last base come first.
    __slots__ = ()
    region: str
    user_pool_id: str
    client_ids: Collection[str]


@dataclass(frozen=True, slots=True)
class Cognito(Generic, _Arguments):
    """A user pool of Amazon Cognito, and the app clients whose access tokens are taken.

    Access tokens of a pool have no `aud`, so `client_ids` is what keeps other applications of the pool out. Where the
    pool binds tokens to resources (RFC 8707), name this service in `audiences`: then each token must be bound to it.
    Without, a token bound to another resource is refused. `endpoint_url` is where the keys are instead of at AWS, for
    stand-ins: `iss` stays the pool's. Roles are the pool's groups.

    >>> pool = Cognito("eu-west-1", "eu-west-1_Ab12Cd34E", client_ids=["4hk2m1s3example"])
    >>> pool.issuer
    'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12Cd34E'
    >>> pool.find_roles({"cognito:groups": ["brewers"]})
    frozenset({'brewers'})
    """

    issuer: str = field(init=False)
    client_ids: Collection[str]
    audiences: Collection[str] = field(default=(), kw_only=True)
    endpoint_url: str | None = field(default=None, kw_only=True)
    algorithms: Collection[str] = field(default=("RS256",), kw_only=True)
    token_types: Collection[str] = field(default=(), kw_only=True)
    required_claims: Collection[str] = field(default=("sub", "client_id", "jti"), kw_only=True)
    claim_paths: ClaimPaths = field(default=ClaimPaths(roles=("cognito:groups",)), kw_only=True)

    def __post_init__(self) -> None:
        if not _REGION.fullmatch(self.region):
            raise ValueError("region: such as eu-west-1")
        region, _, pool = self.user_pool_id.partition("_")
        if region != self.region or not _POOL.fullmatch(pool):
            raise ValueError(f"user_pool_id: such as {self.region}_Ab12Cd34E")
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        self._set("issuer", f"https://cognito-idp.{self.region}.{suffix}/{self.user_pool_id}")
        if self.endpoint_url is not None and is_loopback(urlsplit(self.endpoint_url)):
            self._set("allow_loopback_http", True)
        if self.jwks_uri is None:
            # The address is documented, so that a discovery document could only name a wrong one.
            base = self.issuer if self.endpoint_url is None else f"{self.endpoint_url.rstrip('/')}/{self.user_pool_id}"
            self._set("jwks_uri", f"{base}/.well-known/jwks.json")
        self._check_rules()
        if not self.client_ids:
            raise ValueError("client_ids: name at least one app client; the tokens have no audience")

    def check(self, claims: Mapping[str, Any]) -> None:
        """Refuse all but access tokens, and those that are bound to another resource. Raises `TokenError`.

        Both kinds of token come from one issuer with one kind of header; `token_use` alone tells them apart.
        """
        if claims.get("token_use") != "access":
            raise TokenError(Reason.WRONG_TOKEN_USE, "token_use")
        if not self.audiences and "aud" in claims:
            # A trigger of the pool may set `aud`, but to the client's own name only, which binds to nothing.
            client_id = self.find_client(claims)
            if not audience_of(claims) <= {client_id}:
                raise TokenError(Reason.WRONG_AUDIENCE)

    def find_tenant(self, claims: Mapping[str, Any]) -> str | None:
        """Return what `claim_paths` says, else the pool."""
        return Generic.find_tenant(self, claims) or self.user_pool_id
