"""A diagnosis as text for people and as JSON for programs."""

from __future__ import annotations

import json

from tegata.postgres.doctor.examination import Diagnosis

# Changes when a key is removed or means something else; a new key does not count.
REPORT_VERSION = 1


def as_lines(diagnosis: Diagnosis) -> list[str]:
    """Return what was found as lines: each finding with its meaning and its cure, then what was done."""
    lines = [
        f"{'warning ' if found.severity == 'warning' else ''}{found.check} {found.object}:"
        f" {found.explanation}; {found.fix}"
        for found in diagnosis.findings
    ]
    lines += [f"remark: {remark}" for remark in diagnosis.remarks]
    count = len(diagnosis.findings)
    found = "nothing found" if count == 0 else f"{count} found"
    return [*lines, f"{found} ({diagnosis.checks} checks of the catalogue, {diagnosis.probes} attempts on the wall)"]


def as_json(diagnosis: Diagnosis) -> str:
    """Return the diagnosis as a JSON object; docs/reference/doctor.md describes it."""
    return json.dumps(
        {
            "version": REPORT_VERSION,
            "status": "healthy" if diagnosis.is_healthy else "findings",
            "proven": diagnosis.is_proven,
            "checks": diagnosis.checks,
            "attempts": diagnosis.probes,
            "findings": [
                {
                    "check": found.check,
                    "severity": found.severity,
                    "object": found.object,
                    "explanation": found.explanation,
                    "fix": found.fix,
                }
                for found in diagnosis.findings
            ],
            "not_proven": list(diagnosis.remarks),
        },
        indent=2,
        ensure_ascii=False,
    )


def failure_as_json(reason: str) -> str:
    """Return what a program reads when the database could not be examined."""
    return json.dumps({"version": REPORT_VERSION, "status": "not_examined", "reason": reason}, indent=2)
