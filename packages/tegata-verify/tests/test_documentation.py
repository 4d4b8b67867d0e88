"""The README's and the how-to's code runs, and their tables are complete."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tegata_verify import CachePolicy, Generic, Principal, Reason, Refusal
from tegata_verify.testing import TestIssuer

PACKAGE = Path(__file__).parents[1]
README = (PACKAGE / "README.md").read_text()
HOW_TO = (PACKAGE.parents[1] / "docs/how-to/verify-tokens.md").read_text()


def run(text: str) -> dict[str, object]:
    """Run the Python blocks of a page one after the other in one namespace."""
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "documentation", "exec", dont_inherit=True), namespace)
    return namespace


def test_the_readme_runs_and_its_promises_hold():
    namespace = run(README)
    app = namespace["app"]
    assert {"/beers", "/me"} <= {route.path for route in app.routes}


@pytest.mark.anyio
async def test_the_how_to_runs_and_its_plain_functions_decide():
    namespace = run(HOW_TO)
    issuer = TestIssuer()
    namespace["verifier"] = issuer.verifier()
    token = issuer.mint(scope="write", roles=["brewer"]).encode()
    allowed = await namespace["authorize"]([(b"authorization", b"Bearer " + token)], b"")
    refused = await namespace["authorize"]([], b"")
    assert isinstance(allowed, Principal)
    assert isinstance(refused, Refusal)
    assert refused.status == 401


def first_cells() -> set[str]:
    return {
        name
        for line in HOW_TO.splitlines()
        if line.startswith("|")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }


def test_each_reason_is_explained():
    assert {str(reason) for reason in Reason} <= first_cells()


@pytest.mark.parametrize("record", [CachePolicy, Generic])
def test_each_setting_is_explained(record):
    assert {field.name for field in fields(record) if field.init} - {"_"} <= first_cells()


def test_the_defaults_in_the_page_are_the_defaults_in_the_code():
    policy = CachePolicy()
    for names, values in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([\d., ]+) \|", HOW_TO, re.MULTILINE):
        for name, value in zip(re.findall(r"\w+", names), values.split(","), strict=True):
            default = getattr(policy, name, None)
            if default is None:
                default = {field.name: field.default for field in fields(Generic)}[name]
            assert float(value) == default, name
