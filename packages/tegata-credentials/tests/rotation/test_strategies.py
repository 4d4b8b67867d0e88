"""From plans to strategies: what a plan says arrives, and what a store cannot do is refused before anything begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.lambda_function import PLANS, RotationFunction
from tegata_credentials.rotation.plans import PlanError, read_plans
from tegata_credentials.rotation.postgres import AlternatingUsers
from tegata_credentials.rotation.strategies import strategies_of
from tegata_credentials.testing.version_store import MemoryVersions

PLAN = '{"secret": "shop", "strategy": "alternating-users", "group": "shop", "rest_seconds": 330}'


def test_a_rest_is_passed_on(tmp_path: Path) -> None:
    strategy = strategies_of(read_plans(PLAN), FileVersions(tmp_path))["shop"]
    assert isinstance(strategy, AlternatingUsers)
    assert strategy.rest == 330.0


def test_without_one_there_is_none() -> None:
    plans = read_plans(PLAN.replace(', "rest_seconds": 330', ""))
    strategy = strategies_of(plans, MemoryVersions())["shop"]
    assert isinstance(strategy, AlternatingUsers)
    assert strategy.rest == 0.0


def test_a_rest_is_refused_for_a_store_that_does_not_know_since_when_a_version_is_current() -> None:
    with pytest.raises(PlanError, match="rest_seconds of shop: this store does not know since when"):
        RotationFunction({PLANS: PLAN}, MemoryVersions())


@pytest.mark.parametrize("rest", ["-1", "604801", '"soon"', "NaN"])
def test_a_rest_that_is_none_is_refused(rest: str) -> None:
    with pytest.raises(PlanError, match="rest_seconds: "):
        read_plans(PLAN.replace("330", rest))
