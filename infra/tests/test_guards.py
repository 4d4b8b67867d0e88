"""Every deployment in every environment before every guard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .guards import confidential, keeping, reach, rights, shape
from .syntheses import SYNTHESES
from .templates import Assembly

Guard = Callable[[Assembly], list[str]]

GUARDS: tuple[Guard, ...] = (
    reach.check_world,
    reach.check_ways_out,
    reach.check_application,
    reach.check_stores,
    reach.check_addresses,
    reach.check_buckets,
    reach.check_tls,
    rights.check_wildcards,
    rights.check_managed_policies,
    rights.check_trust,
    rights.check_resource_policies,
    rights.check_functions_callers,
    confidential.check_secrets,
    keeping.check_retention,
    keeping.check_log_keys,
    keeping.check_functions_log,
    keeping.check_deletion,
    keeping.check_keys,
    keeping.check_rotations,
    keeping.check_protection,
    shape.check_sizes,
    shape.check_small,
    shape.check_references,
    shape.check_lookups,
    shape.check_assets,
    shape.check_images,
    shape.check_parameters,
)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__.removeprefix("check_"))
def test_a_guard_has_nothing_to_say(each: Assembly, guard: Guard) -> None:
    assert guard(each) == []


@pytest.mark.parametrize(("name", "account"), [("said", "111111111111"), ("plan-b-of-the-seed", "123456789012")])
def test_nothing_is_looked_up_for_an_account_that_is_named(read_synthesis, name: str, account: str) -> None:
    """With an account and a region, CDK asks for the zones even if they are given, and writes others in silence."""
    assert SYNTHESES[name].environ["CDK_DEFAULT_ACCOUNT"] == account
    assembly = read_synthesis(name)
    assert f"aws://{account}/ap-northeast-1" in (assembly.directory / "manifest.json").read_text()
    zones = {subnet["AvailabilityZone"] for subnet in assembly.all("AWS::EC2::Subnet")}
    assert shape.check_lookups(assembly) == []
    assert zones == {"ap-northeast-1a", "ap-northeast-1c"}
