"""From which addresses keys may be taken (OIDC Discovery §3, RFC 8414 §2)."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


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
