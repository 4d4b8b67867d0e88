"""How many histories there are: what `make test` and `make nightly` promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .profiles import SHARES, VARIABLE, histories, options

HERE = Path(__file__).parent


def test_two_hundred_by_day_and_two_thousand_others_by_night(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert sum(map(histories, SHARES)) >= 200
    assert options(1)["derandomize"]
    monkeypatch.setenv(VARIABLE, "nightly")
    assert sum(map(histories, SHARES)) >= 2000
    assert not options(1)["derandomize"]


def test_each_kind_is_told_by_a_test_and_each_strategy_has_one():
    told = {kind for path in HERE.glob("test_*.py") for kind in re.findall(r'^ +kind = "(.+)"', path.read_text(), re.M)}
    assert told == set(SHARES)
    assert {kind.partition(",")[0] for kind in SHARES} == {
        "alternating users",
        "single user",
        "signing keys",
        "generic token",
    }
