"""Finds the bearer token of an HTTP request (RFC 6750 §2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl

from tegata_verify.errors import InvalidRequest, MissingToken, Reason

_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")


def parse_bearer(headers: Iterable[tuple[bytes, bytes]], query_string: bytes = b"") -> str:
    """Return the token in the `Authorization` header; header names as ASGI gives them, in lower case.

    Raises `MissingToken` or `InvalidRequest`. RFC 6750 §2.1; a token in the address is refused even beside a header,
    because addresses end in logs and histories (RFC 9700 §4.3.2), and of two headers none is trusted.
    """
    if query_string and _names_token(query_string):
        raise InvalidRequest(Reason.TOKEN_IN_QUERY)
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) > 1:
        raise InvalidRequest(Reason.REPEATED_AUTHORIZATION)
    scheme, _, token = (values[0] if values else b"").strip(b" \t").partition(b" ")
    if scheme.lower() != b"bearer":
        raise MissingToken("another scheme" if values else "")
    token = token.lstrip(b" ")
    if not _B64TOKEN.fullmatch(token):
        raise InvalidRequest(Reason.MALFORMED_AUTHORIZATION)
    return token.decode("ascii")


def _names_token(query_string: bytes) -> bool:
    # Without the percent sign and the plain word no spelling of the name is possible.
    if b"%" not in query_string and b"access_token" not in query_string:
        return False
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    return any(name == "access_token" for name, _ in pairs)
