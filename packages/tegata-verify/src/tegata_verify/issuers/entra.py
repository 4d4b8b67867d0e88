"""Microsoft Entra ID (Microsoft identity platform, "Access tokens" and "Access token claims reference")."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tegata_verify.claims import find_text
from tegata_verify.errors import Reason, TokenError
from tegata_verify.issuers.generic import ClaimPaths, Generic
from tegata_verify.issuers.id_tokens import refuse_marked_id_token

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHARED = frozenset({"common", "organizations"})
_VERSIONS = frozenset({"1.0", "2.0"})


@dataclass(frozen=True)
class _Arguments:
    # First in the order of arguments, because fields of the last base come first.
    __slots__ = ()
    tenant_id: str
    audiences: Collection[str]


@dataclass(frozen=True, slots=True)
class EntraId(Generic, _Arguments):
    """A tenant of Microsoft Entra ID, by its GUID, and an API that is registered there.

    `audiences` holds the API's application (client) ID, which stands for `api://{id}` too, or other application ID
    URIs. Tokens of both versions are taken, since the API's registration decides which it gets; `versions` limits
    that. For an application of several tenants say `common` or `organizations` and name in `tenants` each tenant that
    you serve: every tenant in the world is signed for by the same keys. `client_ids` limits `azp` and `appid`.
    `authority` and `legacy_authority` are for national clouds.

    >>> entra = EntraId("6f0a4b3c-1111-4222-8333-0123456789ab", audiences=["c0ffee00-aaaa-4bbb-8ccc-0123456789ab"])
    >>> sorted(entra.accepted_issuers)[0]
    'https://login.microsoftonline.com/6f0a4b3c-1111-4222-8333-0123456789ab/v2.0'
    >>> sorted(entra.accepted_issuers)[1]
    'https://sts.windows.net/6f0a4b3c-1111-4222-8333-0123456789ab/'
    """

    issuer: str = field(init=False)
    audiences: Collection[str]
    tenants: Collection[str] = field(default=(), kw_only=True)
    versions: Collection[str] = field(default=("1.0", "2.0"), kw_only=True)
    authority: str = field(default="https://login.microsoftonline.com", kw_only=True)
    legacy_authority: str = field(default="https://sts.windows.net", kw_only=True)
    algorithms: Collection[str] = field(default=("RS256",), kw_only=True)
    token_types: Collection[str] = field(default=("jwt", "at+jwt"), kw_only=True)
    required_claims: Collection[str] = field(default=("sub", "tid", "ver"), kw_only=True)
    claim_paths: ClaimPaths = field(
        default=ClaimPaths(scope=("scp",), client_id=("azp",), tenant=("tid",)), kw_only=True
    )

    def __post_init__(self) -> None:
        self._set("tenant_id", self.tenant_id.lower())
        tenants = {self.tenants} if isinstance(self.tenants, str) else self.tenants
        self._set("tenants", frozenset(map(str.lower, tenants)))
        self._set("versions", frozenset({self.versions} if isinstance(self.versions, str) else self.versions))
        self._check_tenants()
        if not self.versions or not _VERSIONS.issuperset(self.versions):
            raise ValueError("versions: 1.0, 2.0 or both")
        self._set("issuer", self._address("{tenantid}" if self.is_shared else self.tenant_id, "2.0"))
        audiences = {self.audiences} if isinstance(self.audiences, str) else set(self.audiences)
        self._set("audiences", audiences | {f"api://{name}" for name in audiences if _GUID.fullmatch(name)})
        Generic.__post_init__(self)

    def _check_tenants(self) -> None:
        if self.is_shared and not self.tenants:
            raise ValueError("tenants: name each tenant that is served; anybody can make one")
        if not self.is_shared and self.tenants:
            raise ValueError("tenants: only with common or organizations")
        # A domain name of the tenant never stands in a token.
        if not all(_GUID.fullmatch(tenant) for tenant in self._served):
            raise ValueError("tenant_id: a GUID, or common or organizations with the GUIDs of tenants")

    def _name_issuers(self) -> Collection[str]:
        return [self._address(tenant, version) for tenant in self._served for version in self.versions]

    def _address(self, tenant: str, version: str) -> str:
        return f"{self.legacy_authority}/{tenant}/" if version == "1.0" else f"{self.authority}/{tenant}/v2.0"

    @property
    def _served(self) -> Collection[str]:
        return self.tenants if self.is_shared else (self.tenant_id,)

    @property
    def is_shared(self) -> bool:
        """Tell whether one registration serves several tenants."""
        return self.tenant_id in _SHARED

    @property
    def metadata_url(self) -> str:
        """The address of the discovery document; its keys sign tokens of both versions."""
        return f"{self.authority}/{self.tenant_id}/v2.0/.well-known/openid-configuration"

    def check(self, claims: Mapping[str, Any]) -> None:
        """Refuse tokens whose tenant or version is not the issuer's, and all but access tokens. Raises `TokenError`.

        ID tokens have the same header and issuer, and the same audience where an application and its API are one
        registration. An access token names its client, and carries `scp` if a user stands behind it, else `roles`.
        """
        version = "1.0" if str(claims.get("iss")).startswith(f"{self.legacy_authority}/") else "2.0"
        if claims.get("ver") != version:
            raise TokenError(Reason.MALFORMED_CLAIM if "ver" in claims else Reason.MISSING_CLAIM, "ver")
        tenant = find_text(claims, ("tid",))
        if tenant is None:
            raise TokenError(Reason.MISSING_CLAIM, "tid")
        if claims.get("iss") != self._address(tenant.lower(), version):
            raise TokenError(Reason.WRONG_TENANT)
        refuse_marked_id_token(claims, self.find_client(claims))
        if not self.is_service(claims):
            if not self.find_scopes(claims):
                raise TokenError(Reason.WRONG_TOKEN_USE, "scp")
        elif not self.find_roles(claims):
            # Any application of the tenant can have a token without roles for any API. "Access tokens", on daemons.
            raise TokenError(Reason.MISSING_CLAIM, "roles")

    def accepts_key(self, key_issuer: object, token_issuer: object) -> bool:
        """Tell whether a key signs for the token's tenant. "Access tokens", on validating the signing key's issuer.

        The sets of `common` and `organizations` hold keys for all tenants, whose issuer has `{tenantid}` in it, and
        keys for one tenant alone. It is the issuer of version 2.0 also for tokens of version 1.0. A key without one is
        as good as the set it came in.
        """
        if key_issuer is None:
            return True
        address = str(token_issuer).removeprefix(self.legacy_authority).removeprefix(self.authority)
        tenant = address.split("/")[1]
        return isinstance(key_issuer, str) and key_issuer.replace("{tenantid}", tenant) == self._address(tenant, "2.0")

    def find_client(self, claims: Mapping[str, Any]) -> str | None:
        """Return the client's application ID: `azp`, in version 1.0 `appid`. Raises `TokenError`."""
        return find_text(claims, ("appid",)) if claims.get("ver") == "1.0" else Generic.find_client(self, claims)

    def is_service(self, claims: Mapping[str, Any]) -> bool:
        """Tell whether an application acts without a user.

        `idtyp` says so where it was asked for; else the subject is the application's own object, while a user's
        subject is another for each application.
        """
        if "scp" in claims:
            return False
        kind = claims.get("idtyp")
        return kind == "app" if kind is not None else "oid" in claims and claims["oid"] == claims.get("sub")
