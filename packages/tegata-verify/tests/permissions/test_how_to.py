"""The how-to's policy and code work as it says."""

from __future__ import annotations

import re
from pathlib import Path

from tegata_verify import Principal
from tegata_verify.policy_file import parse_policy

PAGE = (Path(__file__).parents[4] / "docs/how-to/permissions.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_yaml_is_a_policy_that_allows_what_the_text_says():
    policy = parse_policy(blocks("yaml")[0])
    read, write = frozenset({"read"}), frozenset({"write"})
    viewer = frozenset({"viewer"})
    assert policy.grants(Principal("https://id.example", "u", scopes=read, roles=viewer), "beers:read")
    acme = Principal("https://id.example", "u", tenant="acme", scopes=read, roles=viewer)
    assert not policy.grants(acme, "beers:read")
    service = Principal("https://id.example", "fermentation-service", "fermentation-service", scopes=write)
    assert policy.grants(service, "research:write", method="POST")


def test_the_code_runs_and_only_health_is_open():
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "documentation", "exec", dont_inherit=True), namespace)
    assert namespace["open_endpoints"] == ["GET /health"]


def test_each_argument_of_requires_is_explained():
    from tegata_verify.fastapi import requires

    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named == set(requires.__annotations__) - {"return"}
