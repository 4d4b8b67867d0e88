"""The refresh token grant: one error for each outcome of the store (RFC 6749 §5.2, §6)."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from tegata.protocol.grants import refresh_token
from tegata.storage.records import RotatedRefreshToken

OUTCOMES = set(get_args(get_type_hints(RotatedRefreshToken)["outcome"])) - {"rotated", "repeated"}
CODES = {"scope": ("invalid_scope", "scope_not_granted"), "resource": ("invalid_target", "resource_not_granted")}


@pytest.mark.parametrize("outcome", sorted(OUTCOMES))
def test_every_outcome_has_its_error(outcome: str) -> None:
    error = refresh_token.refusal(outcome)
    assert (error.code, error.reason) == CODES.get(outcome, ("invalid_grant", f"refresh_{outcome}"))
    assert error.status == 400


def test_a_foreign_client_learns_no_more_than_of_an_unknown_token() -> None:
    foreign, unknown = (refresh_token.refusal(outcome) for outcome in ("wrong_client", "unknown"))
    assert foreign.description == unknown.description
