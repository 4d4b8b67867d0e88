"""Reading tokens that we signed ourselves: access tokens at UserInfo and introspection, ID tokens as hints.

A verified signature is remembered for a short while by the token's digest, because resource servers introspect the
same token again and again; whether the token is still valid is asked of the store every time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from tegata.crypto.digests import digest_of
from tegata.crypto.signing import BadSignature, VerifiedClaims, verify_own
from tegata.flows.directory import LoadedTenant
from tegata.protocol.tokens import access_token, id_token


class OwnTokens:
    """Verifies our own JWTs and remembers good signatures."""

    def __init__(self, *, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._verified: OrderedDict[tuple[bytes, int], tuple[object, VerifiedClaims]] = OrderedDict()

    def access_token_claims(self, loaded: LoadedTenant, token: str) -> VerifiedClaims | None:
        """Return the claims if this tenant signed this access token, else None. `exp` is left to the caller.

        The issuer is checked as well: another tenant's token is nobody's token here.
        """
        # Tied to the loaded tenant's keys: when those change, what was verified with the old set is verified anew.
        key = (digest_of(token), id(loaded.published))
        known = self._verified.get(key)
        if known is not None and known[0] is loaded.published:
            return known[1]
        claims = _verify(loaded, token, access_token.TYPE)
        if claims is not None:
            self._verified[key] = (loaded.published, claims)
            if len(self._verified) > self._max_entries:
                self._verified.popitem(last=False)
        return claims

    def hint_claims(self, loaded: LoadedTenant, token: str) -> dict[str, Any] | None:
        """Return the claims of an id_token_hint of this tenant; an expired one still says who it was about.

        OIDC Core §3.1.2.1, RP-Initiated Logout §2.
        """
        return _verify(loaded, token, id_token.TYPE)


def _verify(loaded: LoadedTenant, token: str, typ: str) -> VerifiedClaims | None:
    try:
        claims = verify_own(token, loaded.published, typ=typ)
    except BadSignature:
        return None
    return claims if claims.get("iss") == loaded.issuer else None
