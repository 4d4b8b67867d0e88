"""The fence as a rule: what a reader has to prove before it is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata.postgres.fence import Fence, Position, as_end

FENCE = Fence(system=7710501163169099162, timeline=2, position=0x3000F28)
CAUGHT_UP = Position(in_recovery=True, replayed=0x3000F28, system=FENCE.system, timeline=2, unbound=None)
PAGE, SEGMENT = 8192, 16 * 1024 * 1024


def test_a_reader_that_has_replayed_up_to_the_fence_is_used() -> None:
    assert FENCE.refusal(CAUGHT_UP) is None
    assert FENCE.refusal(replace(CAUGHT_UP, replayed=0x4000000)) is None


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        pytest.param({"replayed": 0x3000F27}, "behind", id="one byte is missing"),
        pytest.param({"replayed": None}, "no_position", id="it names no position, as Aurora's readers do"),
        pytest.param({"in_recovery": False, "replayed": None}, "not_a_standby", id="it is a primary"),
        pytest.param({"in_recovery": False}, "not_a_standby", id="it was promoted and remembers where it was"),
        pytest.param({"system": 1}, "another_cluster", id="it follows another cluster"),
        pytest.param({"timeline": 1}, "another_timeline", id="it stayed behind at a failover"),
        pytest.param({"timeline": 3}, "another_timeline", id="it follows whoever was promoted while we write here"),
        pytest.param({"unbound": "a superuser"}, "unbound_role", id="row-level security does not bind its login"),
    ],
)
def test_a_reader_that_cannot_prove_all_of_it_is_refused(changed: dict[str, object], refusal: str) -> None:
    assert FENCE.refusal(replace(CAUGHT_UP, **changed)) == refusal  # type: ignore[arg-type] - named by the case


def test_a_position_far_ahead_on_another_timeline_proves_nothing() -> None:
    lost_at_failover = replace(CAUGHT_UP, timeline=1, replayed=FENCE.position * 2)
    assert FENCE.refusal(lost_at_failover) == "another_timeline"


@pytest.mark.parametrize(
    ("position", "end"),
    [
        pytest.param(3 * SEGMENT + 40, 3 * SEGMENT, id="behind the header of a segment"),
        pytest.param(5 * PAGE + 24, 5 * PAGE, id="behind the header of a page"),
        pytest.param(5 * PAGE + 40, 5 * PAGE + 40, id="within a page: the end of a record continued there"),
        pytest.param(5 * PAGE + 1024, 5 * PAGE + 1024, id="within a page"),
        pytest.param(5 * PAGE, 5 * PAGE, id="at the end of a page"),
    ],
)
def test_where_the_next_record_begins_is_read_as_where_the_last_one_ended(position: int, end: int) -> None:
    assert as_end(position, page=PAGE, segment=SEGMENT) == end
