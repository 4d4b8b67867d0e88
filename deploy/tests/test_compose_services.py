"""compose.yaml's services, each as the kernel would run its container, on a real PostgreSQL and behind Debian's nginx."""

from __future__ import annotations

from .installation import Installation


def test_first(migrated: Installation) -> None:
    again = migrated.run("bootstrap")
    assert (again.status, again.log) == (0, "roles and schema are as they should be\n")
