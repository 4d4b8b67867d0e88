"""The ways into the development server's database, by role."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.postgres.target import ConnectionTarget


@dataclass(frozen=True, slots=True)
class Ways:
    """An administrator's way in, and from it everybody else's."""

    administrator: ConnectionTarget
    embedded: bool

    def entering(self, role: str) -> ConnectionTarget:
        """Return the way in for one of Tegata's roles.

        The embedded server trusts its private socket, so the role itself logs in. On another server its password is
        not known, so the administrator logs in and takes the role.
        """
        return self.administrator.entering_as(role) if self.embedded else self.administrator.taking_role(role)
