"""Redirect URIs: what may be registered, and exact comparison (RFC 6749 §3.1.2, RFC 9700 §2.1, OIDC Core §3.1.2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from tegata.protocol.errors import Refused

# Schemes that run code or read files in a browser.
_DANGEROUS_SCHEMES = frozenset({"javascript", "data", "vbscript", "file", "blob", "about", "view-source", "ws", "wss"})


def problem_with(uri: str, *, allow_loopback_http: bool) -> str | None:
    """Return what is wrong with `uri` as a redirect or post-logout URI, or None.

    https, or a private-use scheme with a dot in it (RFC 8252 §7.1), or http on loopback where that is allowed.
    """
    if not uri.isascii() or not uri.isprintable() or any(c in uri for c in " \\<>\"'`{}|^"):
        return "contains characters that are not allowed in a URI"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URI"
    if not parts.scheme or "#" in uri:
        return "has a fragment" if "#" in uri else "is not absolute"
    if parts.scheme in {"https", "http"}:
        if not host or parts.username is not None or parts.password is not None:
            return "has no host, or has user information"
        if parts.scheme == "http" and not (allow_loopback_http and is_loopback(host)):
            return "is http; https is required"
        return None
    if parts.scheme in _DANGEROUS_SCHEMES or "." not in parts.scheme:
        return "has a scheme that is not allowed"
    return None


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine by an address or as localhost (RFC 8252 §7.3, §8.3)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def choose(sent: str | None, registered: Sequence[str], *, must_be_sent: bool, allow_loopback_http: bool) -> str:
    """Return the redirect URI to use, or raise `Refused`: an answer must never go to an unverified URI.

    Comparison is character by character (RFC 9700 §2.1). Without one in the request the only registered URI serves,
    unless OpenID Connect asks for it (OIDC Core §3.1.2.1).
    """
    if sent is None:
        if must_be_sent or len(registered) != 1:
            raise Refused("invalid_request", "redirect_uri is missing", "redirect_uri_missing")
        sent = registered[0]
    if sent not in registered:
        raise Refused(
            "invalid_request", "redirect_uri is not registered for this client", "redirect_uri_not_registered"
        )
    if problem_with(sent, allow_loopback_http=allow_loopback_http):
        # Registered under other settings, e.g. in development; production does not send answers there.
        raise Refused("invalid_request", "redirect_uri is not allowed on this server", "redirect_uri_not_allowed")
    return sent
