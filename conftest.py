"""What every test may use: figures that are printed at the end of the run.

It stands at the top because with several workers only this file is read by the process that prints.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

_PROPERTY = "counted"


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Print figures of this test in the summary: `count("expiry under load", logins=40, errors=0)`."""

    def add(what: str, /, **figures: object) -> None:
        told = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in figures.items())
        record_property(_PROPERTY, f"{what}: {told}")

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, those of one subject together, whichever worker they come from."""
    rows: dict[str, list[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, value in report.user_properties:
                    if name == _PROPERTY:
                        what, _, figures = str(value).partition(": ")
                        rows.setdefault(what, []).append(figures)
    if rows:
        terminalreporter.section("counted")
        for what in sorted(rows):
            for figures in rows[what]:
                terminalreporter.line(f"{what}: {figures}")
