"""What both HTTP clients share: where a token may go, and when a call is worth a second attempt with another one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from urllib.parse import urlsplit

from tegata_verify.client.records import AccessToken
from tegata_verify.client.sources import TokenSource
from tegata_verify.issuers import check_url

Origin = tuple[str, str, int]


class Verdict(Enum):
    """What an answer says about a second attempt."""

    FINAL = "final"
    WANTS_TOKEN = "wants_token"
    WANTS_NONCE = "wants_nonce"

    def is_met_by(self, another: AccessToken, refused: AccessToken) -> bool:
        """Tell whether this token changes anything: a refused one, sent again, does not."""
        return self is Verdict.WANTS_NONCE or another.value != refused.value


DEFAULT_PORTS = {"http": 80, "https": 443}
_INVALID_TOKEN = re.compile(r'(?:^|[\s,])error\s*=\s*(?:"invalid_token"|invalid_token(?![\w-]))', re.IGNORECASE)
_USE_NONCE = re.compile(r'(?:^|[\s,])error\s*=\s*(?:"use_dpop_nonce"|use_dpop_nonce(?![\w-]))', re.IGNORECASE)


class Origins:
    """The services that a token may be sent to: scheme, host and port, to the letter.

    >>> origins = Origins(["https://stock.example.com"])
    >>> ("https", "stock.example.com", 443) in origins, ("http", "stock.example.com", 80) in origins
    (True, False)
    """

    def __init__(self, origins: str | Collection[str], *, allow_loopback_http: bool = False) -> None:
        self._origins = frozenset(
            _parse(text, allow_loopback_http) for text in ([origins] if isinstance(origins, str) else origins)
        )
        if not self._origins:
            raise ValueError("origins: name at least one service that the token is for")

    def __contains__(self, origin: object) -> bool:
        return origin in self._origins


def _parse(text: str, allow_loopback_http: bool) -> Origin:
    check_url(text, allow_loopback_http=allow_loopback_http, what="origin")
    parts = urlsplit(text)
    if parts.path not in ("", "/") or "?" in text or parts.hostname is None:
        raise ValueError("origin: scheme, host and port alone")
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]


def find_origin(url: str) -> Origin | None:
    """Return the origin of an address, or None for one that has none. RFC 6454 §4."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return None if parts.hostname is None else (parts.scheme, parts.hostname, port)


class Calls:
    """Puts tokens on calls, in no HTTP client's terms."""

    def __init__(self, source: TokenSource, origins: Origins, *, clock: Callable[[], float] = time.time) -> None:
        self.source = source
        self.origins = origins
        self._clock = clock

    def headers(self, token: AccessToken, method: str, url: str) -> dict[str, str]:
        """Return the headers that carry the token. RFC 6750 §2.1, RFC 9449 §7.1."""
        headers = {"Authorization": token.authorization}
        if self.source.dpop is not None:
            headers["DPoP"] = self.source.dpop.prove(method, url, now=self._clock(), token=token.value)
        return headers

    def judge(
        self, token: AccessToken, url: str, status: int, headers: Mapping[str, str], challenges: Iterable[str]
    ) -> Verdict:
        """Tell whether the same call may succeed with another token or nonce, and forget a refused token.

        RFC 6750 §3.1, RFC 9449 §9. Any other refusal, above all 403, would only be repeated.
        """
        has_new_nonce = self.source.dpop is not None and self.source.dpop.learn(url, headers)
        if status != 401:
            return Verdict.FINAL
        said = list(challenges)
        if any(map(_INVALID_TOKEN.search, said)):
            self.source.rejected(token.value)
            return Verdict.WANTS_TOKEN
        return Verdict.WANTS_NONCE if has_new_nonce and any(map(_USE_NONCE.search, said)) else Verdict.FINAL
