"""What every test may use: figures that are printed at the end of the run.

It stands at the top because with several workers only this file is read by the process that prints.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

_PROPERTY = "counted"
_ATTACKED = "attacked"


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Print figures of this test in the summary: `count("expiry under load", logins=40, errors=0)`."""

    def add(what: str, /, **figures: object) -> None:
        told = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in figures.items())
        record_property(_PROPERTY, f"{what}: {told}")

    return add


@pytest.fixture
def attacked(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Add to the table of attacks in the summary: `attacked("upsert", attempts=12, successes=0)`."""

    def add(kind: str, /, *, attempts: int, successes: int) -> None:
        record_property(_ATTACKED, f"{kind}: {attempts} {successes}")

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, those of one subject together, whichever worker they come from; those of attacks as sums."""
    rows: dict[str, list[str]] = {}
    attacks: dict[str, tuple[int, int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            # A report at the end of the teardown repeats what the test itself has told.
            if not isinstance(report, pytest.TestReport) or report.when != "teardown":
                continue
            for name, value in report.user_properties:
                what, _, figures = str(value).rpartition(": ")
                if name == _PROPERTY:
                    rows.setdefault(what, []).append(figures)
                elif name == _ATTACKED:
                    attempts, successes = (int(figure) for figure in figures.split())
                    before = attacks.get(what, (0, 0))
                    attacks[what] = before[0] + attempts, before[1] + successes
    if rows:
        terminalreporter.section("counted")
        for what in sorted(rows):
            for figures in rows[what]:
                terminalreporter.line(f"{what}: {figures}")
    if attacks:
        terminalreporter.section("attacks on the tenant wall")
        for kind, (attempts, successes) in [*sorted(attacks.items()), ("all", _sum(attacks))]:
            terminalreporter.line(f"{kind}: {attempts} attempts, {successes} successes")


def _sum(attacks: dict[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(attempts for attempts, _ in attacks.values()), sum(successes for _, successes in attacks.values())
