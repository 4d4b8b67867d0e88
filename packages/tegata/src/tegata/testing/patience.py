"""How long a test waits for what has to happen: so long that no busy machine comes near it, and nothing costs it."""

from __future__ import annotations

from tegata.postgres.engine import PoolLimits

PATIENCE_SECONDS = 60.0
# Tests of the limits themselves have their own: `replace(PATIENT, wait_seconds=0.05)`.
PATIENT = PoolLimits(
    size=4,
    wait_seconds=120.0,
    connect_seconds=PATIENCE_SECONDS,
    statement_seconds=120.0,
    waiting=1000,
    check_after_seconds=None,
)
