"""Three who check each token: one with kept keys, one who has just started, and a library of others."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import jwt

from tegata_verify import CachePolicy, KeysUnavailable, Tegata, TokenError, Verifier

from .installation import JWKS_SECONDS

# Before this part of its life is over a copy of the keys is read again for one reason only: an unknown kid.
_AHEAD = 0.8
# So long a look at keys may take: the machine may be slow.
_FETCH_SECONDS = 30.0


@dataclass(slots=True)
class Watched(httpx2.AsyncBaseTransport):
    """Reads keys and notes why: `hasty` are readings while the kept copy was still fresh, so for an unknown kid.

    What was read is as old as the question: the answer may have lain about for a while.
    """

    readings: list[tuple[float, float]] = field(default_factory=list)  # when it was asked, when it was answered
    hasty: int = 0
    seen: dict[str, float] = field(default_factory=dict)  # kid -> when it was first read here
    most: int = 0  # keys at once

    def __call__(self) -> httpx2.AsyncBaseTransport:
        """Be the transport of another fetch."""
        return self

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Pass a request on."""
        is_keys, asked = request.url.path.endswith("/jwks"), time.time()
        if is_keys and self.readings and asked - self.readings[-1][0] < _AHEAD * JWKS_SECONDS:
            self.hasty += 1
        async with httpx2.AsyncHTTPTransport(verify=False) as transport:
            response = await transport.handle_async_request(request)
            content = await response.aread()
        if is_keys:
            self.readings.append((asked, time.time()))
            if response.status_code == 200:
                self._look_at(json.loads(content)["keys"])
        return httpx2.Response(response.status_code, headers=response.headers, content=content)

    def _look_at(self, keys: Sequence[Mapping[str, Any]]) -> None:
        self.most = max(self.most, len(keys))
        for key in keys:
            self.seen.setdefault(key["kid"], self.readings[-1][1])

    def had_fresh_copy(self, at: float) -> bool:
        """Whether keys were at hand at this time that were no older than the server allows."""
        return any(answered < at < asked + JWKS_SECONDS for asked, answered in self.readings)


@dataclass(slots=True)
class Foreign:
    """PyJWT with a set of keys that is kept as long as the server allows, and never read anew for an unknown kid."""

    issuer: str
    http: httpx2.AsyncClient
    keys: Mapping[str, jwt.PyJWK] = field(default_factory=dict)
    fresh_until: float = 0.0
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def verify(self, token: str, audience: str) -> None:
        """Raises `jwt.InvalidTokenError`."""
        async with self._reading:
            if (asked := time.time()) >= self.fresh_until:
                answer = await self.http.get(f"{self.issuer}/jwks")
                self.keys = {str(key.key_id): key for key in jwt.PyJWKSet.from_dict(answer.json()).keys}
                self.fresh_until = asked + JWKS_SECONDS
        header = jwt.get_unverified_header(token)
        key = self.keys.get(header["kid"])
        if key is None:
            raise jwt.InvalidTokenError("an unknown kid")
        jwt.decode(token, key, algorithms=[header["alg"]], audience=audience, issuer=self.issuer)


@dataclass(slots=True)
class Jury:
    """Everybody who checks tokens, and what they said."""

    issuer: str
    http: httpx2.AsyncClient
    watched: Watched = field(default_factory=Watched)
    issued: list[tuple[float, str, str]] = field(default_factory=list, repr=False)  # expiry, token, audience
    refused: list[str] = field(default_factory=list)
    kids: dict[str, float] = field(default_factory=dict)  # of keys that have signed: when the first token of each came
    checks: int = 0
    tokens: int = 0
    patient: Verifier = field(init=False)
    foreign: Foreign = field(init=False)

    def __post_init__(self) -> None:
        # Nothing is remembered of a token: each check is a check of its signature.
        policy = CachePolicy(min_ttl=0, refresh_ahead=_AHEAD, timeout=_FETCH_SECONDS)
        self.patient = Verifier(self._rules, transport=self.watched, cache_policy=policy, remembered_tokens=0)
        self.foreign = Foreign(self.issuer, self.http)

    @property
    def _rules(self) -> Tegata:
        return Tegata(self.issuer, [self.issuer], allow_loopback_http=True)

    async def take(self, token: str) -> None:
        """Check an access token that has just been issued, and keep it for later."""
        self.tokens += 1
        self.issued.append((_expiry(token), token, self.issuer))
        self.kids.setdefault(jwt.get_unverified_header(token)["kid"], time.time())
        await self._check(token)
        if self.tokens % 10 == 0:
            await self._check_afresh(token)

    async def take_id_token(self, token: str, audience: str) -> None:
        """Check an ID token, which only relying parties do."""
        self.tokens += 1
        self.issued.append((_expiry(token), token, audience))
        self.kids.setdefault(jwt.get_unverified_header(token)["kid"], time.time())
        await self._check_by_others(token, audience)

    async def look_again(self) -> int:
        """Check everything that is still valid once more; return how many tokens were, also after it."""
        now = time.time()
        self.issued = [issued for issued in self.issued if issued[0] > now]
        checked = 0
        afresh: set[str] = set()
        for _, token, audience in list(self.issued):
            if audience == self.issuer:
                await self._check(token)
                kid = str(jwt.get_unverified_header(token)["kid"])
                if kid not in afresh:  # one for each key
                    afresh.add(kid)
                    await self._check_afresh(token)
            else:
                await self._check_by_others(token, audience)
            checked += is_valid(token)
        return checked

    @property
    def leads(self) -> list[float]:
        """Return for how long each key was known to the patient verifier before it signed.

        Of keys alone that were not there from the beginning, and that signed while its copy was fresh.
        """
        _, first = self.watched.readings[0]
        return [
            signed - self.watched.seen.get(kid, signed)
            for kid, signed in self.kids.items()
            if self.watched.seen.get(kid, signed) > first and self.watched.had_fresh_copy(signed)
        ]

    async def _check(self, token: str) -> None:
        await self._check_with(self.patient, token, "kept keys")
        await self._check_by_others(token, self.issuer)

    async def _check_afresh(self, token: str) -> None:
        policy = CachePolicy(timeout=_FETCH_SECONDS)
        await self._check_with(Verifier(self._rules, cache_policy=policy), token, "fresh keys")

    async def _check_with(self, verifier: Verifier, token: str, whose: str) -> None:
        self.checks += 1
        try:
            await verifier.verify(token)
        except (TokenError, KeysUnavailable) as error:
            if is_valid(token):
                self.refused.append(f"{whose}: {error!r}")

    async def _check_by_others(self, token: str, audience: str) -> None:
        self.checks += 1
        try:
            await self.foreign.verify(token, audience)
        except (jwt.InvalidTokenError, httpx2.HTTPError) as error:
            if is_valid(token):
                self.refused.append(f"PyJWT: {error!r}")


def is_valid(token: str) -> bool:
    """Whether it has not ended yet: on a busy machine it may end while somebody looks at it."""
    return time.time() < _expiry(token)


def _expiry(token: str) -> float:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return float(claims["exp"])
