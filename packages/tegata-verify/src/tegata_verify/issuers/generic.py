"""The rules that hold for every issuer, and an issuer of RFC 9068 access tokens that is nothing more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from tegata_verify.algorithms import SUPPORTED_ALGORITHMS, name_fully
from tegata_verify.claims import find_names, find_scopes, find_text
from tegata_verify.issuers.addresses import check_url
from tegata_verify.issuers.id_tokens import refuse_id_token

_COLLECTIONS = ("audiences", "client_ids", "algorithms", "token_types", "required_claims")


@dataclass(frozen=True, slots=True)
class ClaimPaths:
    """Where a token keeps what `Principal` needs: the names that lead to each value, from the outside in.

    An empty path leads nowhere: the tokens say nothing of it.

    >>> ClaimPaths(roles=("https://beer.example/roles",)).roles
    ('https://beer.example/roles',)
    """

    scope: tuple[str, ...] = ("scope",)
    roles: tuple[str, ...] = ("roles",)
    client_id: tuple[str, ...] = ("client_id",)
    permissions: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generic:
    """An issuer of JWT access tokens after RFC 9068, and the rules its tokens must pass.

    `audiences` are this service's own names: a token must be meant for at least one. Without `jwks_uri` the keys are
    found through `{issuer}/.well-known/openid-configuration`, whose `issuer` must be this one (OIDC Discovery §4.3).
    With `jwks_uri` alone whatever is signed by one of those keys counts, whatever its `iss`, except for tokens in the
    name of another issuer of the same verifier: only for a key set that nobody else's tokens are signed with.
    `token_types` are media types without `application/`; an empty collection is for issuers that do not mark their
    access tokens: then what looks like an ID token is refused (`tegata_verify.issuers.id_tokens`).
    `algorithms` with `EdDSA` allow its full name `Ed25519` too. `client_ids`, if any, are the only clients whose
    tokens are taken. Raises `ValueError` for anything that could not
    be checked safely.

    >>> Generic("https://id.example.com", ["beer-service"]).metadata_url
    'https://id.example.com/.well-known/openid-configuration'
    >>> Generic(jwks_uri="https://id.example.com/keys", audiences=["beer-service"]).name
    'https://id.example.com/keys'
    """

    issuer: str = ""
    audiences: Collection[str] = ()
    _: KW_ONLY
    jwks_uri: str | None = None
    client_ids: Collection[str] = ()
    algorithms: Collection[str] = SUPPORTED_ALGORITHMS
    token_types: Collection[str] = ("at+jwt",)
    required_claims: Collection[str] = ("sub", "client_id")
    claim_paths: ClaimPaths = ClaimPaths()
    leeway_seconds: float = 30
    allow_loopback_http: bool = False
    accepted_issuers: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_rules()
        if not self.audiences:
            raise ValueError("audiences: name at least one audience of this service")

    def _check_rules(self) -> None:
        for name in _COLLECTIONS:
            value: Collection[str] = getattr(self, name)
            # A bare string is a collection of letters: "api" would accept the audience "a".
            self._set(name, frozenset({value} if isinstance(value, str) else value))
        if self.issuer or self.jwks_uri is None:
            check_url(self.issuer, allow_loopback_http=self.allow_loopback_http, what="issuer")
        if self.jwks_uri is not None:
            check_url(self.jwks_uri, allow_loopback_http=self.allow_loopback_http, what="jwks_uri")
        self._set("accepted_issuers", frozenset(self._name_issuers()))
        for name in ("audiences", "client_ids"):
            if not all(getattr(self, name)):
                raise ValueError(f"{name}: an empty name")
        if not self.algorithms or not SUPPORTED_ALGORITHMS.issuperset(self.algorithms):
            raise ValueError(f"algorithms: choose from {', '.join(sorted(SUPPORTED_ALGORITHMS))}")
        self._set("algorithms", frozenset(name_fully(self.algorithms)))
        if not 0 <= self.leeway_seconds <= 300:
            raise ValueError("leeway_seconds: 0 to 300, a few minutes at most (RFC 7519 §4.1.4)")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _name_issuers(self) -> Collection[str]:
        # Each value of `iss` that these rules are for; none at all means any.
        return (self.issuer,) if self.issuer else ()

    @property
    def name(self) -> str:
        """What logs and caches call this issuer."""
        return self.issuer or self.jwks_uri or ""

    @property
    def metadata_url(self) -> str:
        """The address of the discovery document. OIDC Discovery §4."""
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"

    @property
    def metadata_issuer(self) -> str:
        """Which issuer the discovery document must name. OIDC Discovery §4.3."""
        return self.issuer

    def check(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token of another kind than access tokens. Raises `TokenError`.

        The signature and `iss` have been checked, nothing else. RFC 9068 §4 leaves nothing to do here for tokens whose
        `typ` says what they are.
        """
        if self.token_types != {"at+jwt"}:
            refuse_id_token(claims, self.find_client(claims))

    def accepts_key(self, key_issuer: object, token_issuer: object) -> bool:
        """Tell whether a key of the issuer's set may sign tokens with this `iss`, which these rules are for.

        `key_issuer` is the member `issuer` of the key, if it has one: only some issuers mean something by it.
        """
        return True

    def find_client(self, claims: Mapping[str, Any]) -> str | None:
        """Return the client that a token was issued to. Raises `TokenError`."""
        return find_text(claims, self.claim_paths.client_id)

    def find_scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return what the client may do. Raises `TokenError`."""
        return find_scopes(claims, self.claim_paths.scope)

    def find_roles(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return what the subject is. Raises `TokenError`."""
        return find_names(claims, self.claim_paths.roles)

    def find_permissions(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return what the issuer itself says that the subject may do. Raises `TokenError`."""
        return find_names(claims, self.claim_paths.permissions)

    def find_tenant(self, claims: Mapping[str, Any]) -> str | None:
        """Return the tenant a token belongs to, where the issuer has tenants. Raises `TokenError`."""
        return find_text(claims, self.claim_paths.tenant)

    def is_service(self, claims: Mapping[str, Any]) -> bool:
        """Tell whether a client acts on its own behalf. RFC 9068 §2.2, §5. Raises `TokenError`."""
        client_id = self.find_client(claims)
        return client_id is not None and claims.get("sub") == client_id
