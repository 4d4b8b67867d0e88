"""One spelling for an address, so that a proof's and a request's can be compared (RFC 9449 §4.3, RFC 3986 §6.2)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATH = _UNRESERVED | frozenset(b"!$&'()*+,;=:@/%")  # pchar and the separator, RFC 3986 §3.3
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986 §2
_TRIPLET = re.compile(r"%([0-9A-Fa-f]{2})")
_HOST = re.compile(r"[a-z0-9\-._~!$&'()*+,;=%]+|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS = {"https": 443, "http": 80}

MAX_LENGTH = 8 * 1024


def normalize(uri: str) -> str:
    """Return an http or https URI without query and fragment, in its normal form. RFC 3986 §6.2.2, §6.2.3.

    Scheme and host in lower case, no default port, no dot segments, `/` for an empty path; percent-encodings in upper
    case, and none where the character needs none. What separates stays encoded: `%2F` is no slash.
    Raises `ValueError` for anything that is no such URI.

    >>> normalize("HTTPS://API.example.com:443/%7ejane/./a%2fb?page=2#top")
    'https://api.example.com/~jane/a%2Fb'
    """
    if len(uri) > MAX_LENGTH or not _URI.fullmatch(uri):
        raise ValueError("not a URI")
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not uri[len(scheme) :].startswith("://") or "@" in parts.netloc:
        raise ValueError("not an http URI without user name")
    path = remove_dot_segments(_normal_encoding(parts.path))
    return f"{scheme}://{_authority(parts.netloc, scheme)}{path or '/'}"


def find_path(url: str, raw_path: bytes | None) -> str | None:
    """Return the path of a request as a URI spells it, None if it has none. RFC 9112 §3.2.

    `raw_path` is what was sent; `url` serves where that is not known: frameworks put the Host header into it and decode
    the path. What may not stand in a URI is encoded here.

    >>> find_path("https://api.example.com/", "/bières/du jour".encode())
    '/bi%C3%A8res/du%20jour'
    """
    data = url.encode(errors="surrogatepass") if raw_path is None else raw_path
    if not data.startswith(b"/"):
        # A request to a proxy names the whole address; a path glued to ours unseen could make it another host.
        _, separator, rest = data.partition(b"://")
        rest = rest.partition(b"/")[2]
        if not separator:
            return None
        data = b"/" + rest
    return _encode(re.split(rb"[?#]", data, maxsplit=1)[0])


def encode_path(path: str) -> str:
    """Return a path as a URI spells it, for frameworks that hand it out decoded; a `%` in it stays one.

    >>> encode_path("/bières/du jour?")
    '/bi%C3%A8res/du%20jour%3F'
    """
    return _encode(path.encode(errors="surrogatepass"))


def _encode(path: bytes) -> str:
    return "".join(chr(byte) if byte in _IN_PATH else f"%{byte:02X}" for byte in path)


def remove_dot_segments(path: str) -> str:
    """Resolve `.` and `..` in an absolute path. RFC 3986 §5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _normal_encoding(text: str) -> str:
    if text.count("%") != len(_TRIPLET.findall(text)):
        raise ValueError("a percent sign that encodes nothing")
    return _TRIPLET.sub(_normal_triplet, text)


def _normal_triplet(triplet: re.Match[str]) -> str:
    byte = int(triplet[1], 16)
    return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"


def _authority(netloc: str, scheme: str) -> str:
    host, colon, port = netloc.rpartition(":")
    if not colon or netloc.endswith("]"):
        host, port = netloc, ""
    host = _normal_encoding(host).lower()
    # Lower case reaches the triplets too, which are upper case in the normal form.
    host = _TRIPLET.sub(_normal_triplet, host)
    if not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{0,5}", port):
        raise ValueError("not a host")
    is_default = port == "" or int(port) == _DEFAULT_PORTS[scheme]
    return host if is_default else f"{host}:{int(port)}"
