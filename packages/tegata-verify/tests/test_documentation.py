"""The README's and the how-to's code runs, and their tables are complete."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import tegata_verify
from tegata_verify import CachePolicy, Generic, Principal, Reason, Refusal
from tegata_verify.fastapi import install
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
    assert {"/beers", "/me"} <= {route.path for route in namespace["beers"].routes}


def test_five_lines_protect_an_application():
    five = README.partition("## Five lines")[2].partition("```python\n")[2].partition("```")[0]
    assert len([line for line in five.splitlines() if line]) == 5
    namespace: dict[str, object] = {}
    exec(compile(five, "five lines", "exec", dont_inherit=True), namespace)
    app = namespace["app"]
    (rules,) = app.state.tegata_verify.verifier.issuers
    issuer = TestIssuer.of(rules)
    install(app, issuer.verifier())  # the same rules; keys from here and not from the network
    app.get("/beers")(lambda: ["Saison"])
    client = TestClient(app)
    asked = {
        "no token": {},
        "expired": issuer.headers(scope="read", flaw="expired"),
        "narrow": issuer.headers(scope="write"),
        "good": issuer.headers(scope="read"),
    }
    answers = {name: client.get("/beers", headers=headers) for name, headers in asked.items()}
    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == {"no token": 401, "expired": 401, "narrow": 403, "good": 200}
    assert answers["good"].json() == ["Saison"]
    assert answers["no token"].headers["www-authenticate"] == 'Bearer realm="api"'
    assert client.get("/openapi.json").json()["paths"]["/beers"]["get"]["security"] == [{"AccessToken": ["read"]}]


def test_each_constructor_of_the_readme_can_be_called_as_it_stands_there():
    table = README.partition("| issuer | say |")[2].partition("\n\n")[0]
    calls = [call for call in re.findall(r"`([A-Z]\w+\([^`]+\))`", table) if "alb_arns" not in call]
    assert len(calls) == 7
    verifier = tegata_verify.Verifier(*(eval(call, vars(tegata_verify)) for call in calls))
    assert len(verifier.issuers) == 7


def test_each_front_end_of_the_readme_is_there():
    table = README.partition("| where | import | extra |")[2].partition("\n\n")[0]
    modules = re.findall(r"`(tegata_verify\.\w+)`: ([^|]+)\|", table)
    assert len(modules) == 5
    for module, names in modules:
        for name in re.findall(r"`(\w+)`", names):
            assert hasattr(importlib.import_module(module), name)


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
