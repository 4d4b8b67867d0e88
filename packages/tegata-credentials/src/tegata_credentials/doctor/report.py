"""What an examination found, as a record, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tegata_credentials.doctor.reasons import REASONS

Result = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer. `reason` is a key of `REASONS` if it failed."""

    id: str
    result: Result
    says: str
    reason: str | None = None
    fix: str | None = None
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All answers, in the order in which they were asked. `claims` is what may be shown of the token."""

    checks: tuple[Check, ...]
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        """Whether nothing failed."""
        return not any(check.result == "failed" for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What failed, by name."""
        return tuple(check.reason for check in self.checks if check.reason is not None)

    def text(self) -> str:
        """Return the report for a terminal."""
        lines = []
        for check in self.checks:
            word = "FAILED" if check.result == "failed" else check.result
            lines.append(f"{word:<8}{check.id:<12}{_visible(check.says)}")
            if check.fix:
                lines.append(f"{'':<20}fix: {_visible(check.fix)}")
            if check.sql:
                lines += ["", *check.sql.splitlines(), ""]
        if self.claims:
            shown = ", ".join(f"{name}={_visible(str(value))}" for name, value in self.claims.items())
            lines.append(f"the token says: {shown}")
        failed = sum(check.result == "failed" for check in self.checks)
        lines.append("nothing found" if failed == 0 else f"{failed} found")
        return "\n".join(lines)

    def json(self) -> str:
        """Return the report for a program."""
        checks = [
            {name: value for name in Check.__slots__ if (value := getattr(check, name)) is not None}
            for check in self.checks
        ]
        return json.dumps({"healthy": self.is_healthy, "checks": checks, "token": dict(self.claims)}, indent=2)


def ok(id_: str, says: str) -> Check:
    """Make the answer that all is well."""
    return Check(id_, "ok", says)


def skipped(id_: str, says: str) -> Check:
    """Make the answer that the question could not be asked."""
    return Check(id_, "skipped", says)


def failed(id_: str, reason: str, *, sql: str | None = None, **case: Any) -> Check:
    """Make the answer that something is wrong: the words come from `REASONS`, filled in with the case."""
    words = REASONS[reason]
    return Check(id_, "failed", words.says.format(**case), reason, words.fix.format(**case), sql)


def _visible(text: str) -> str:
    """Keep what others wrote (names, claims) from steering the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
