"""Finds the access token of an HTTP request (RFC 6750 §2, RFC 9449 §7.1)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from tegata_verify.errors import InvalidRequest, MissingToken, Reason

# Possessive: a malformed value of a megabyte is not read again from each of its letters.
_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]++=*+")
# The name with each letter plain or percent-encoded, found without taking a long query apart; `;` separates for some.
_TOKEN_NAME = b"".join(b"(?:%c|(?i:%%%02x))" % (letter, letter) for letter in b"access_token")
_TOKEN_IN_QUERY = re.compile(rb"(?:^|[&;])" + _TOKEN_NAME + rb"(?:[=&;]|\Z)")


def parse_bearer(headers: Iterable[tuple[bytes, bytes]], query_string: bytes = b"") -> str:
    """Return the token in the `Authorization` header; header names as ASGI gives them, in lower case.

    Raises `MissingToken` or `InvalidRequest`. RFC 6750 §2.1; a token in the address is refused even beside a header,
    because addresses end in logs and histories (RFC 9700 §4.3.2), and of two headers none is trusted.
    """
    return parse_authorization(headers, query_string, (b"bearer",))[1]


def parse_authorization(
    headers: Iterable[tuple[bytes, bytes]], query_string: bytes, schemes: Collection[bytes]
) -> tuple[bytes, str]:
    """Return scheme, in lower case, and token of the `Authorization` header if the scheme is one of `schemes`.

    Raises as `parse_bearer` does. RFC 6750 §2.1, RFC 9449 §7.1.
    """
    if query_string and _TOKEN_IN_QUERY.search(query_string):
        raise InvalidRequest(Reason.TOKEN_IN_QUERY)
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) > 1:
        raise InvalidRequest(Reason.REPEATED_AUTHORIZATION)
    scheme, _, token = (values[0] if values else b"").strip(b" \t").partition(b" ")
    scheme = scheme.lower()
    if scheme not in schemes:
        raise MissingToken("another scheme" if values else "")
    token = token.lstrip(b" ")
    if not _B64TOKEN.fullmatch(token):
        raise InvalidRequest(Reason.MALFORMED_AUTHORIZATION)
    return scheme, token.decode("ascii")
