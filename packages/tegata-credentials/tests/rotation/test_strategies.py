"""From plans to strategies: what a plan says arrives, and what a store cannot do is refused before anything begins."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.errors import SecretNotFound
from tegata_credentials.observer import WrittenAudit
from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.generic_token import GenericToken
from tegata_credentials.rotation.lambda_function import PLANS, RotationFunction
from tegata_credentials.rotation.plans import PlanError, read_plans
from tegata_credentials.rotation.postgres import AlternatingUsers
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.rotation.strategies import strategies_of
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT

PASSWORD = "of-nobody-at-all-0123"
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


def test_each_look_at_the_administrators_login_is_told_without_it() -> None:
    """Also on Lambda, whose log is where the lines are kept."""
    store, said = MemoryVersions(), io.StringIO()
    store.add("rotator", {"username": "rotator", "password": PASSWORD})
    plan = json.dumps({"secret": "shop", "strategy": "alternating-users", "group": "shop", "administrator": "rotator"})
    strategy = strategies_of(read_plans(plan), store, observer=EmbeddedMetrics(said))["shop"]
    assert isinstance(strategy, AlternatingUsers)
    strategy.administrator.store.read("rotator", stage=CURRENT)
    with pytest.raises(SecretNotFound):
        strategy.administrator.store.read("nobody", stage=CURRENT)
    told = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(line["audit"], line["secret"]) for line in told] == [
        ("secret.read", "rotator"),
        ("secret.read_failed", "nobody"),
    ]
    assert PASSWORD not in said.getvalue()


def test_a_status_tells_of_each_value_that_it_tries_once_and_of_none_that_it_does_not(tmp_path: Path) -> None:
    store, said = FileVersions(tmp_path / "secrets"), io.StringIO()
    first = store.create("mail", HiddenText(PASSWORD))
    keys = GenericToken(make=lambda _: "key-2", check=lambda _: True)
    driver = RotationDriver(store, Rotation(store, {"mail": keys}), observer=WrittenAudit(said))
    second = driver.rotate("mail").token
    assert said.getvalue() == ""
    driver.status("mail", probe=False)
    assert said.getvalue() == ""
    driver.status("mail")
    assert [line.split()[1:4] for line in said.getvalue().splitlines()] == [
        ["secret.read", "secret=mail", f"version={second}"],
        ["secret.read", "secret=mail", f"version={first}"],
    ]


@pytest.mark.parametrize("rest", ["-1", "604801", '"soon"', "NaN"])
def test_a_rest_that_is_none_is_refused(rest: str) -> None:
    with pytest.raises(PlanError, match="rest_seconds: "):
        read_plans(PLAN.replace("330", rest))
