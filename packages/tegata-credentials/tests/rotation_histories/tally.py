"""What a test of histories has really done, for the summary of the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Tally:
    """Figures of one test."""

    histories: int = 0
    rotations: int = 0
    completed: int = 0
    steps: int = 0
    logins: int = 0  # values tried where they are used, and clients that came in
    client_operations: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)

    def add(self, world: Any) -> None:
        """Add what one history has seen."""
        self.logins += world.ledger.tried
        self.client_operations += world.client_operations
        for points in world.walked:
            self.points.update(points.names)

    def figures(self) -> dict[str, int]:
        """Return what the summary prints."""
        return {
            "histories": self.histories,
            "rotations": self.rotations,
            "steps": self.steps,
            "faults_and_events": sum(self.happened.values()),
            "kinds_of_them": len(self.happened),
            "points_passed": sum(self.points.values()),
            "values_tried": self.logins,
            "clients_let_in": self.client_operations,
            "client_errors": 0,
        }
