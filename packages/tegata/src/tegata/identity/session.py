"""A browser's signed-in session at one tenant, and when it still counts."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.identifiers import SessionId, UserId


@dataclass(frozen=True, slots=True)
class Session:
    """Who signed in, when and how. Times are seconds since the epoch."""

    session_id: SessionId  # also the `sid` claim
    user_id: UserId
    auth_time: int
    amr: tuple[str, ...]
    acr: str
    created_at: float
    last_seen_at: float
    expires_at: float
    # The clients that take part in this session are found through its grants.


def is_alive(session: Session, *, idle_seconds: int, now: float) -> bool:
    """Whether the session may still be used at `now` (absolute and idle limit)."""
    return now < session.expires_at and now - session.last_seen_at < idle_seconds
