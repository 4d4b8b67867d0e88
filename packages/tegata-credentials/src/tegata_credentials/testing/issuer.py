"""Tokens of a make-believe Entra tenant: signed for real, remembered all, and revocable.

They look like those of Azure: RS256, about 1.3 kB, the audience of the database service, the object id of an identity
as `oid`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

AUDIENCE = "https://ossrdbms-aad.database.windows.net"
ISSUER = "https://sts.windows.net/00000000-0000-4000-8000-000000000001/"
_ALGORITHM = "RS256"
_PADDING = "0" * 560  # the groups, names and versions that a real token carries


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that this laboratory has made."""

    number: int
    value: str = field(repr=False)
    subject: str
    audience: str
    expires_at: int  # seconds since the epoch by the laboratory's clock


class LabClock:
    """The clock of the cloud: ours, and `offset_seconds` ahead of it. When it is stopped, only those move it on."""

    def __init__(self) -> None:
        self.offset_seconds: float = 0.0
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        return (time.time() if self._stopped_at is None else self._stopped_at) + self.offset_seconds

    def stop(self) -> None:
        """Stand still at a whole second. Give it to a client too, and no login is too late on a busy machine."""
        self._stopped_at = float(int(time.time()))

    def go_on(self) -> None:
        """Be right again."""
        self._stopped_at = None


class TokenIssuer:
    """Makes tokens and judges them. A second one makes tokens that are signed well, with a key nobody trusts."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._key = RSAKey.generate_key(2048, {"kid": "laboratory"}, private=True)
        self.issued: list[IssuedToken] = []
        self._revoked: set[int] = set()
        self.lifetime_seconds: float = 3600

    def issue(
        self, subject: str, *, audience: str = AUDIENCE, lifetime_seconds: float | None = None, **claims: Any
    ) -> IssuedToken:
        """Make a token for this object id. Times are whole seconds, as in real ones."""
        now = int(self._clock())
        expires_at = now + int(self.lifetime_seconds if lifetime_seconds is None else lifetime_seconds)
        number = len(self.issued) + 1
        payload = {
            "iss": ISSUER,
            "aud": audience,
            "oid": subject,
            "sub": subject,
            "iat": now,
            "nbf": now,
            "exp": expires_at,
            "jti": str(number),
            "padding": _PADDING,
            **claims,
        }
        value = jwt.encode({"alg": _ALGORITHM, "kid": "laboratory", "typ": "JWT"}, payload, self._key)
        token = IssuedToken(number, value, subject, audience, expires_at)
        self.issued.append(token)
        return token

    def revoke_all(self) -> None:
        """Let nothing in that has been issued so far, whatever its life."""
        self._revoked.update(token.number for token in self.issued)

    def refusal(self, value: str, *, subject: str, audience: str = AUDIENCE) -> str | None:
        """Return why this token does not stand for this object id now; None if it does."""
        try:
            claims = jwt.decode(value, self._key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError):
            return "no_token_of_ours"
        if claims["iss"] != ISSUER or claims["aud"] != audience:
            return "wrong_audience"
        if self._clock() >= claims["exp"]:
            return "expired"
        if int(claims["jti"]) in self._revoked:
            return "revoked"
        return None if claims["oid"] == subject else "wrong_identity"

    def number_of(self, value: str) -> int | None:
        """Return which of the issued tokens this is."""
        return next((token.number for token in self.issued if token.value == value), None)
