"""What a test issuer answers: its documents, and what it knows of its tokens (RFC 7662), without a socket."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs

import httpx2


class Answering(Protocol):
    """A test issuer, as its transport sees it."""

    reachable: bool

    @property
    def introspection_url(self) -> str:
        """Where the issuer is asked about tokens."""

    def documents(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what the issuer publishes, by address."""

    def introspect(self, token: str) -> Mapping[str, Any]:
        """Return what the issuer says of a token."""


class Published(httpx2.AsyncBaseTransport):
    """Answers as the issuers' servers would."""

    def __init__(self, issuers: Sequence[Answering]) -> None:
        self._issuers = issuers

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        for issuer in self._issuers:
            document = issuer.documents().get(url)
            if request.method == "POST" and url == issuer.introspection_url:
                fields = parse_qs((await request.aread()).decode())
                document = issuer.introspect(fields["token"][0])
            if document is not None:
                return httpx2.Response(200, json=document) if issuer.reachable else httpx2.Response(503)
        return httpx2.Response(404)


class Register:
    """The tokens that were issued, and what each of them means."""

    def __init__(self) -> None:
        self._claims: dict[str, Mapping[str, Any]] = {}

    def keep(self, token: str, claims: Mapping[str, Any]) -> None:
        """Remember a token that was minted."""
        self._claims[token] = claims

    def make_opaque(self, claims: Mapping[str, Any]) -> str:
        """Return a new token that says nothing by itself."""
        token = secrets.token_urlsafe(32)
        self.keep(token, claims)
        return token

    def forget(self, token: str) -> None:
        """Forget a token, if it is known. RFC 7009 §2.2."""
        self._claims.pop(token, None)

    def answer(self, token: str, *, now: float) -> dict[str, Any]:
        """Return what is known of a token. RFC 7662 §2.2."""
        claims = self._claims.get(token)
        if claims is None or claims["exp"] <= now:
            return {"active": False}
        is_bound_to_key = "jkt" in claims.get("cnf", {})
        return {**claims, "active": True, "token_type": "DPoP" if is_bound_to_key else "Bearer"}
