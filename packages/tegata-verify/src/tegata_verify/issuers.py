"""What to trust, as data: an issuer, where its keys are, and which of its tokens are meant for this service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

# Asymmetric only: with HS256 every service could also issue. RFC 8725 §3.1, §3.2.
SUPPORTED_ALGORITHMS = frozenset({"ES256", "RS256", "PS256", "EdDSA"})


@dataclass(frozen=True, slots=True)
class ClaimPaths:
    """Where a token keeps what `Principal` needs: the names that lead to each value, from the outside in."""

    scope: tuple[str, ...] = ("scope",)
    roles: tuple[str, ...] = ("roles",)
    client_id: tuple[str, ...] = ("client_id",)


@dataclass(frozen=True, slots=True)
class Generic:
    """An issuer of JWT access tokens after RFC 9068, and the rules its tokens must pass.

    `audiences` are this service's own names: a token must be meant for at least one. Without `jwks_uri` the keys are
    found through `{issuer}/.well-known/openid-configuration`, whose `issuer` must be this one (OIDC Discovery §4.3).
    `token_types` are media types without `application/`; an empty collection switches the check off, which lets an
    ID token of the same issuer pass and is only for issuers that do not mark their access tokens.
    Raises `ValueError` for anything that could not be checked safely.
    """

    issuer: str
    audiences: Collection[str]
    _: KW_ONLY
    jwks_uri: str | None = None
    algorithms: Collection[str] = SUPPORTED_ALGORITHMS
    token_types: Collection[str] = ("at+jwt",)
    required_claims: Collection[str] = ("sub", "client_id")
    claim_paths: ClaimPaths = ClaimPaths()
    leeway_seconds: float = 30
    allow_loopback_http: bool = False

    def __post_init__(self) -> None:
        for name in ("audiences", "algorithms", "token_types", "required_claims"):
            value: Collection[str] = getattr(self, name)
            # A bare string is a collection of letters: "api" would accept the audience "a".
            object.__setattr__(self, name, frozenset({value} if isinstance(value, str) else value))
        check_url(self.issuer, allow_loopback_http=self.allow_loopback_http, what="issuer")
        if self.jwks_uri is not None:
            check_url(self.jwks_uri, allow_loopback_http=self.allow_loopback_http, what="jwks_uri")
        if not self.audiences or not all(self.audiences):
            raise ValueError("audiences: name at least one audience of this service")
        if not self.algorithms or not SUPPORTED_ALGORITHMS.issuperset(self.algorithms):
            raise ValueError(f"algorithms: choose from {', '.join(sorted(SUPPORTED_ALGORITHMS))}")
        if not 0 <= self.leeway_seconds <= 300:
            raise ValueError("leeway_seconds: 0 to 300, a few minutes at most (RFC 7519 §4.1.4)")

    @property
    def metadata_url(self) -> str:
        """The address of the discovery document. OIDC Discovery §4."""
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"

    def find_tenant(self, claims: Mapping[str, object]) -> str | None:
        """Return the tenant a token belongs to, where the issuer has tenants."""
        return None


@dataclass(frozen=True, slots=True)
class Tegata(Generic):
    """A tenant of a Tegata server; the issuer is `{base}/{tenant}`."""

    def find_tenant(self, claims: Mapping[str, object]) -> str | None:
        """Return the last segment of the issuer's path; a tenant with a host name of its own has none."""
        return urlsplit(self.issuer).path.rstrip("/").rpartition("/")[2] or None


def check_url(url: str, *, allow_loopback_http: bool, what: str) -> None:
    """Refuse an address from which keys must not be taken. OIDC Discovery §3, RFC 8414 §2.

    Raises `ValueError`. Plain http is for this machine alone, and only when asked for by name.
    """
    if not all("!" <= c <= "~" for c in url):
        raise ValueError(f"{what}: not a URL")
    parts = urlsplit(url)
    parts.port  # noqa: B018 - reading it raises ValueError for a port that is no number
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError(f"{what}: a URL with a host, without user name and fragment")
    if what == "issuer" and (parts.query or "?" in url or "#" in url):
        raise ValueError("issuer: a URL without query and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_loopback_http and is_loopback(parts)):
        raise ValueError(f"{what}: https is required, except for loopback addresses with allow_loopback_http")


def is_loopback(parts: SplitResult) -> bool:
    """Tell whether an address stays on this machine. RFC 6761 §6.3, RFC 1122 §3.2.1.3."""
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
