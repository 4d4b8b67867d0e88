"""Proves on a live database that no tenant can reach another's rows: Tegata's own, or that of any other project.

    from tegata.postgres.doctor import Wall, examine
    from tegata.postgres.target import ConnectionTarget

    diagnosis = examine(ConnectionTarget.from_url(url), wall=Wall.from_toml(text))

Two parts. The catalogue is asked for every known hole (`catalogue`); any role that may connect can ask. Then the wall
is tried out (`probe`), because a definition that looks right is not yet one that holds. It needs the drivers and a few
names of `tegata.postgres`, and nothing of the server.
"""

from __future__ import annotations

from tegata.postgres.doctor.catalogue import CHECKS
from tegata.postgres.doctor.examination import PROBES, Diagnosis, Finding, examine
from tegata.postgres.doctor.question import Check
from tegata.postgres.doctor.report import REPORT_VERSION, as_json, as_lines, failure_as_json
from tegata.postgres.doctor.wall import TEGATA, Wall

__all__ = [
    "CHECKS",
    "PROBES",
    "REPORT_VERSION",
    "TEGATA",
    "Check",
    "Diagnosis",
    "Finding",
    "Wall",
    "as_json",
    "as_lines",
    "examine",
    "failure_as_json",
]
