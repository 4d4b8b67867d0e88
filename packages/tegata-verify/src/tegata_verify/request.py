"""What the kit needs to know of an HTTP request, in no framework's terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, as it reached the service.

    `headers` are the fields as ASGI gives them: names in lower case, both as bytes, repeated ones repeated. `url` is
    the address under which clients know the resource, without query and fragment: behind a proxy that is the proxy's.
    `raw_path` is the path of the request line as it was sent, percent-encodings untouched; where a framework does not
    tell it, the path of `url` must do.
    `peer` is the IP address of whoever opened the connection, None where the framework does not tell.

    >>> request = HttpRequest("GET", "https://api.example.com/beers", ((b"accept", b"*/*"),), peer="10.0.0.7")
    >>> request.values(b"accept"), request.values(b"authorization")
    ([b'*/*'], [])
    """

    method: str
    url: str
    headers: tuple[tuple[bytes, bytes], ...]
    query_string: bytes = b""
    peer: str | None = None
    raw_path: bytes | None = None

    def values(self, name: bytes) -> list[bytes]:
        """Return each value of a header, in order; `name` in lower case."""
        return [value for found, value in self.headers if found == name]


def lower_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return headers with names in lower case, for frameworks that keep the sender's spelling. RFC 9110 §5.1."""
    return tuple((name.lower(), value) for name, value in headers)
