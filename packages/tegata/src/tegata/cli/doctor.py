"""`tegata doctor`."""

from __future__ import annotations

from tegata.cli.failures import UNAVAILABLE, CommandFailure


def run() -> int:
    """Check the wall between tenants."""
    raise CommandFailure("the doctor is not built yet", UNAVAILABLE)
