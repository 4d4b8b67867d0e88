"""Why there is no token for a call to another service. No text here comes from a server's answer but an error code."""

from __future__ import annotations

import re
from enum import StrEnum

_ERROR_CODE = re.compile(r"[a-z0-9_.\-]{1,64}")


class Obstacle(StrEnum):
    """What stood in the way of a token; for logs and metric labels."""

    REFUSED = "refused"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad_answer"
    NOT_CONFIGURED = "not_configured"
    CLOSED = "closed"


class TokenUnavailable(Exception):
    """No token can be had now, so the call to the other service cannot be made.

    `code` is the OAuth error of a refusal (RFC 6749 §5.2). `retry_after_seconds` is how long asking again is useless:
    a service that answers requests itself passes it on with its 503.

    >>> error = TokenUnavailable(Obstacle.REFUSED, code="invalid_scope")
    >>> str(error), error.retry_after_seconds
    ('refused: invalid_scope', None)
    """

    def __init__(
        self,
        obstacle: Obstacle,
        detail: str = "",
        *,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        known = code if code is not None and _ERROR_CODE.fullmatch(code) else None
        said = ", ".join(filter(None, (known, detail)))
        super().__init__(f"{obstacle}: {said}" if said else str(obstacle))
        self.obstacle = obstacle
        self.detail = detail
        self.code = known
        self.retry_after_seconds = retry_after_seconds

    def again(self) -> TokenUnavailable:
        """Return an equal error: each waiter raises one of its own, with a traceback of its own."""
        return TokenUnavailable(
            self.obstacle, self.detail, code=self.code, retry_after_seconds=self.retry_after_seconds
        )
