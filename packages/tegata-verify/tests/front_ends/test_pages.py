"""The code of the how-tos about front ends and about calls runs."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[4] / "docs/how-to"
MODULES = [
    "asgi",
    "aws_lambda",
    "client.authentication",
    "client.calls",
    "client.certificates",
    "client.dpop",
    "algorithms",
    "client.endpoint",
    "client.errors",
    "client.httpx2",
    "client.records",
    "client.requests",
    "client.sources",
    "django",
    "flask",
    "outgoing",
    "path_rules",
    "wsgi",
]


@pytest.mark.parametrize("page", ["front-ends", "call-services"])
def test_the_code_of_a_page_runs(page):
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (HOW_TO / f"{page}.md").read_text(), re.DOTALL):
        exec(compile(block, page, "exec", dont_inherit=True), namespace)
    assert {"handler", "guarded"} <= namespace.keys() or "exchange" in namespace


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(f"tegata_verify.{name}"), optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0
    assert outcome.failed == 0
