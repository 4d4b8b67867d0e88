"""Describes the service to clients, so that they find its issuers by themselves: RFC 9728.

A challenge names the address of this description (§5.1). Clients of the Model Context Protocol need no more than that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any
from urllib.parse import urlsplit

from tegata_verify.issuers import Generic, check_url
from tegata_verify.parts import CertificateRules, ProofRules
from tegata_verify.policy import AccessPolicy

_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_PAGES = ("resource_documentation", "resource_policy_uri", "resource_tos_uri")


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """What clients may know of a service. `resource` is its address as clients use it, and an audience of its tokens.

    Without `authorization_servers` they are the issuers that the guard's verifier trusts, without `scopes_supported`
    those of its policy. What the guard takes of DPoP proofs and client certificates is added by itself, and that a
    token is taken from the header alone. Raises `ValueError`.

    >>> beers = ProtectedResource("https://api.example.com/beers", scopes_supported=["read", "write"])
    >>> beers.metadata_url
    'https://api.example.com/.well-known/oauth-protected-resource/beers'
    """

    resource: str
    _: KW_ONLY
    authorization_servers: Collection[str] = ()
    scopes_supported: Collection[str] = ()
    resource_name: str | None = None
    resource_documentation: str | None = None
    resource_policy_uri: str | None = None
    resource_tos_uri: str | None = None
    allow_loopback_http: bool = False

    def __post_init__(self) -> None:
        self._check(self.resource, "resource")
        if "?" in self.resource or "#" in self.resource:
            raise ValueError("resource: a URL without query and fragment (RFC 9728 §1.2)")
        for name in ("authorization_servers", "scopes_supported"):
            value = getattr(self, name)
            # A bare string is a collection of letters.
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for issuer in self.authorization_servers:
            self._check(issuer, "authorization_servers")
        for name in _PAGES:
            if (page := getattr(self, name)) is not None:
                self._check(page, name)

    @property
    def metadata_url(self) -> str:
        """The address of the description: the well-known path goes between host and path. RFC 9728 §3.1."""
        parts = urlsplit(self.resource)
        return f"{parts.scheme}://{parts.netloc}{self.metadata_path}"

    @property
    def metadata_path(self) -> str:
        """The path under which front ends serve the description, as it is seen from outside."""
        path = urlsplit(self.resource).path
        return _WELL_KNOWN + ("" if path == "/" else path)

    def _check(self, url: str, what: str) -> None:
        check_url(url, allow_loopback_http=self.allow_loopback_http, what=what)


@dataclass(frozen=True, slots=True)
class Description:
    """An HTTP answer of status 200, in no framework's terms; it is for everybody, without a token."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


def build_description(document: Mapping[str, Any]) -> Description:
    """Build the answer that holds the description. RFC 9728 §3.2.

    Programs in browsers may read it too, from any origin: it is public, and nobody's credentials are looked at. Clients
    of the Model Context Protocol ask with a header of their own, so the same answer serves a preflight (Fetch §3.2.3).
    """
    headers = (
        ("Content-Type", "application/json"),
        ("Cache-Control", "public, max-age=3600"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET"),
        ("Access-Control-Allow-Headers", "*"),
        ("Access-Control-Max-Age", "3600"),
    )
    return Description(headers, json.dumps(document).encode())


def build_document(
    resource: ProtectedResource,
    *,
    issuers: Collection[Generic] = (),
    dpop: ProofRules | None = None,
    certificates: CertificateRules | None = None,
    policy: AccessPolicy | None = None,
) -> dict[str, Any]:
    """Build the members of the description; what there is nothing to say about is left out. RFC 9728 §2."""
    # A name with a place for the tenant in it is the issuer of nobody.
    trusted = [rules.issuer for rules in issuers if rules.issuer and "{" not in rules.issuer]
    document: dict[str, Any] = {
        "resource": resource.resource,
        "resource_name": resource.resource_name,
        "authorization_servers": list(resource.authorization_servers) or trusted,
        "scopes_supported": list(resource.scopes_supported) or sorted(policy.scopes if policy is not None else ()),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(dpop.algorithms) if dpop is not None else None,
        "dpop_bound_access_tokens_required": True if dpop is not None and dpop.required else None,
        "tls_client_certificate_bound_access_tokens": True if certificates is not None else None,
        **{name: getattr(resource, name) for name in _PAGES},
    }
    return {name: value for name, value in document.items() if value not in (None, [])}
