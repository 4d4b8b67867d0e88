"""Decides about one HTTP request: who acts, with which token, and whether this act is allowed.

All front ends stand on this. `Guard` is for asyncio, `SyncGuard` for threads; a framework is asked for nothing but an
`HttpRequest` and is given a `Principal` or a `Refusal`.
"""

from __future__ import annotations

import logging

from tegata_verify.bearer import parse_bearer
from tegata_verify.errors import AccessError, Challenges, Refusal, build_refusal
from tegata_verify.permissions import Requirement, check_permission
from tegata_verify.principal import Principal
from tegata_verify.request import HttpRequest
from tegata_verify.verifier import Verifier

_log = logging.getLogger(__name__)

ANYBODY = Requirement()
"""Any valid token will do."""


class Guard:
    """Lets requests in, or says why not. Make one for the process.

    `realm` names the protected space in challenges (RFC 9110 §11.5).
    """

    def __init__(self, verifier: Verifier, *, realm: str = "api") -> None:
        self.verifier = verifier
        self.challenges = Challenges(realm)

    async def authorize(self, request: HttpRequest, requirement: Requirement = ANYBODY) -> Principal:
        """Return who acts. Raises an `AccessError`."""
        token = parse_bearer(request.headers, request.query_string)
        principal = await self.verifier.verify(token)
        check_permission(principal, requirement)
        return principal

    def refuse(self, error: AccessError) -> Refusal:
        """Return the HTTP answer for a refusal, and tell the log its reason."""
        _log.info("request refused: %s", error.reason, extra={"reason": str(error.reason), "detail": error.detail})
        return build_refusal(error, self.challenges)
