"""Runs every rule over the checkout: `python -m house`. Ends with status 1 if anything is found."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import broad_except, published_text, pure_code, sizes, sql_text, tenant_tables
from .source import Finding, Source, tracked

ROOT = Path(__file__).resolve().parents[2]
RULES = (
    pure_code.check,
    broad_except.check,
    sql_text.check,
    tenant_tables.check,
    published_text.check,
    sizes.check,
)


def main() -> int:
    """Print what is found, one line each."""
    allowed = tomllib.loads((Path(__file__).parent / "allowed.toml").read_text())
    findings = list(judge(tracked(ROOT), allowed))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


def judge(sources: Iterable[Source], allowed: dict[str, dict[str, str]]) -> Iterator[Finding]:
    """Yield what the rules find, less the exceptions; an exception without a cause is a finding too."""
    unused = {(rule, key) for rule, keys in allowed.items() for key in keys}
    for source in sources:
        for rule in RULES:
            for finding in rule(source):
                if finding.key in allowed.get(finding.rule, {}):
                    unused.discard((finding.rule, finding.key))
                else:
                    yield finding
    for name, key in sorted(unused):
        yield Finding(name, key, 1, "is allowed in tools/house/allowed.toml, but breaks nothing: take it out there")


if __name__ == "__main__":
    sys.exit(main())
