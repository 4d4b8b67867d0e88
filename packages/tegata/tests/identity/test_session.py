"""Sessions end at their time or when nobody comes."""

from __future__ import annotations

from uuid import UUID

import pytest

from tegata.identifiers import SessionId, UserId
from tegata.identity.session import Session, is_alive

SESSION = Session(
    SessionId(UUID(int=1)),
    UserId(UUID(int=2)),
    auth_time=100,
    amr=("pwd",),
    acr="a",
    created_at=100.0,
    last_seen_at=500.0,
    expires_at=1000.0,
)


@pytest.mark.parametrize(
    ("now", "idle_seconds", "alive"),
    [
        pytest.param(500.0, 60, True, id="seen now"),
        pytest.param(559.9, 60, True, id="seen a while ago"),
        pytest.param(560.0, 60, False, id="idle"),
        pytest.param(999.9, 3600, True, id="at its last moment"),
        pytest.param(1000.0, 3600, False, id="ended"),
        pytest.param(499.0, 60, True, id="seen by a server whose clock is ahead"),
        pytest.param(500.0, 0, False, id="no idleness allowed"),
    ],
)
def test_a_session(now: float, idle_seconds: int, alive: bool) -> None:
    assert is_alive(SESSION, idle_seconds=idle_seconds, now=now) is alive
