"""Static files under addresses that change with their content, and what a page may load (CSP Level 3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from types import MappingProxyType
from urllib.parse import urlsplit

from tegata.protocol.redirect_uris import is_loopback

CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
)
CACHE_CONTROL = "public, max-age=31536000, immutable"

_BASE_POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'self'"
# By page kind, without `img-src` and `form-action`, which depend on the client: see `build_content_security_policy`.
CONTENT_SECURITY_POLICY: Mapping[str, str] = MappingProxyType(
    {
        "document": _BASE_POLICY,
        "form_post": f"{_BASE_POLICY}; script-src 'self'",
        "playground": f"{_BASE_POLICY}; script-src 'self'; connect-src 'self'",
    }
)

_LOOPBACK_SOURCES = ("http://127.0.0.1:*", "http://localhost:*")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_UNSAFE_IN_URI = re.compile(r"[\x00-\x20\x7f-\x9f\\\"<>`\s]")


def is_web_address(uri: str) -> bool:
    """Tell whether `uri` is safe to link: https, or http on loopback. Anything else (`javascript:`, `data:`) is not."""
    if _UNSAFE_IN_URI.search(uri):
        return False
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    if parts.username is not None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def is_local_path(path: str) -> bool:
    """Tell whether `path` stays on this server: `/x`, but not `//host` nor `/\\host`, which browsers read as a host."""
    return path.startswith("/") and not path.startswith("//") and not _UNSAFE_IN_URI.search(path)


def build_content_security_policy(kind: str, *, form_targets: Iterable[str] = (), logo_uri: str | None = None) -> str:
    """Return the policy of one page.

    `form_targets` are the addresses a form of the page may end at besides this server: the client's redirect URI, as
    Chromium holds every redirect after a form POST against `form-action` (measured with 156; the HTML standard leaves
    it open). The redirect URI may itself redirect on, to an origin we cannot know, and that hop is held against it as
    well: an exact origin would break such clients without a word. So an https target admits https, a loopback target
    loopback, and an app's private scheme that scheme; a page without a target stays at 'self'.
    """
    images = ["'self'"]
    if logo_uri is not None and is_web_address(logo_uri):
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(logo_uri)).lower()
        images += [origin] if _ORIGIN.fullmatch(origin) else []
    forms = dict.fromkeys(["'self'"] + [source for uri in form_targets for source in _form_sources(uri)])
    return f"{CONTENT_SECURITY_POLICY[kind]}; img-src {' '.join(images)}; form-action {' '.join(forms)}"


def _form_sources(uri: str) -> tuple[str, ...]:
    scheme, separator, _ = uri.partition(":")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme) or scheme in {"javascript", "data", "blob", "file"}:
        return ()
    if scheme != "http":
        return (f"{scheme}:",)
    host = urlsplit(uri).hostname if is_web_address(uri) else None
    if host is None:
        return ()
    # CSP has no syntax for an IPv6 address (CSP3 §2.3.1), so [::1] needs the scheme.
    return ("http:",) if ":" in host else (*_LOOPBACK_SOURCES, f"http://{host}:*")


class Assets:
    """The package's static files, read once; their addresses hold a digest, so that they may be cached for ever."""

    def __init__(self, prefix: str = "/static/") -> None:
        self._urls: dict[str, str] = {}
        self._files: dict[str, tuple[bytes, str]] = {}
        for entry in (files("tegata.web") / "static").iterdir():
            stem, _, suffix = entry.name.rpartition(".")
            if suffix not in CONTENT_TYPES:
                continue
            content = entry.read_bytes()
            url = f"{prefix}{stem}.{hashlib.sha256(content).hexdigest()[:16]}.{suffix}"
            self._urls[entry.name] = url
            self._files[url] = (content, CONTENT_TYPES[suffix])

    def url(self, name: str) -> str:
        """Return the address of the file; raises KeyError if the package has no such file."""
        return self._urls[name]

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Return content and content type of the file at `path`, which is a whole address as `url` gives it."""
        return self._files.get(path)
