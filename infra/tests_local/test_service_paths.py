"""The firewall's limits for paths: each names an endpoint that Tegata has, and the ones where somebody guesses."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from deployed import Deployed

import tegata

SOURCES = Path(tegata.__file__).parent
GUESSED = {
    "rate-of-sign-ins": {"sign-in", "choose-account", "consent", "sign-out"},
    "rate-of-tokens": {"token", "introspect", "revoke"},
}


def find_pattern(rule: str) -> str:
    acl = Deployed.read("production").one("AWS::WAFv2::WebACL").properties
    statement = next(each for each in acl["Rules"] if each["Name"] == rule)["Statement"]["RateBasedStatement"]
    return str(statement["ScopeDownStatement"]["RegexMatchStatement"]["RegexString"])


def list_endpoints() -> set[str]:
    """Return the names below a tenant, as the routes of the sources give them."""
    found = set()
    for part in ("web", "api"):
        for file in (SOURCES / part).glob("*.py"):
            for literal, name in re.findall(r'(?:"([^"]+)"|\b(_[A-Z_]+)): Route\(', file.read_text()):
                found.add(literal or getattr(import_module(f"tegata.{part}.{file.stem}"), name))
    return found


@pytest.mark.parametrize("rule", GUESSED)
def test_a_limit_covers_endpoints_that_there_are(rule: str) -> None:
    pattern = find_pattern(rule)
    covered = {name for name in list_endpoints() if re.search(pattern, f"/demo/{name}")}
    assert covered == GUESSED[rule]


@pytest.mark.parametrize("path", ["/sign-in", "/a/b/sign-in", "/demo/sign-in/x", "/demo/token.png", "/static/token/x"])
@pytest.mark.parametrize("rule", GUESSED)
def test_a_limit_covers_no_other_path(rule: str, path: str) -> None:
    assert re.search(find_pattern(rule), path) is None
