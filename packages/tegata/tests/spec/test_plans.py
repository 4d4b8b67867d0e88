"""The ledger has no hole: every module of every claimed plan has a test of its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .plans import BASIC_OP, PLANS, RP_INITIATED_LOGOUT_OP


@pytest.mark.parametrize("file", sorted(PLANS))
def test_each_module_has_exactly_one_test(file: str) -> None:
    source = (Path(__file__).parent / file).read_text(encoding="utf-8")
    written = re.findall(r"^def test_(\w+)\(", source, re.MULTILINE)
    assert sorted(written) == sorted(name.replace("-", "_") for name in PLANS[file])


def test_the_plans_have_the_counted_numbers_of_modules() -> None:
    assert (len(BASIC_OP), len(RP_INITIATED_LOGOUT_OP)) == (38, 11)
