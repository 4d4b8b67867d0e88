"""A stronger or fresher login for what is delicate (RFC 9470)."""

from __future__ import annotations

import pytest

from tegata_verify import (
    AccessError,
    Challenges,
    InsufficientScope,
    InsufficientUserAuthentication,
    Principal,
    Reason,
    build_refusal,
    build_requirement,
    check_permission,
)

NOW = 1_700_000_000.0


def judge(auth_time=None, **demand):
    principal = Principal("https://id.example", "u", auth_time=auth_time)
    try:
        check_permission(principal, build_requirement(**demand), now=NOW)
    except AccessError as refusal:
        return refusal
    return None


@pytest.mark.parametrize(
    ("acr", "demand", "reason"),
    [
        ("mfa", "mfa", None),
        ("phr", "mfa phr", None),
        ("pwd", "mfa phr", Reason.WEAK_AUTHENTICATION),
        ("MFA", "mfa", Reason.WEAK_AUTHENTICATION),
        (None, "mfa", Reason.WEAK_AUTHENTICATION),
        ("", "mfa", Reason.WEAK_AUTHENTICATION),
    ],
)
def test_one_of_the_contexts_is_needed_and_silence_is_none(acr, demand, reason):
    principal, refusal = Principal("https://id.example", "u", acr=acr), None
    try:
        check_permission(principal, build_requirement(acr=demand), now=NOW)
    except InsufficientUserAuthentication as error:
        refusal = error
    assert (refusal.reason if refusal else None) == reason


@pytest.mark.parametrize(
    ("age", "allowed"), [(0, True), (299, True), (300, True), (300.5, False), (86400, False), (-29, True), (-31, False)]
)
def test_a_login_is_recent_enough_to_the_second_and_never_from_the_future(age, allowed):
    refusal = judge(auth_time=NOW - age, max_age=300)
    assert (refusal is None) is allowed
    assert allowed or refusal.reason is Reason.OLD_AUTHENTICATION


def test_a_token_that_does_not_say_when_is_refused():
    assert judge(max_age=300).reason is Reason.OLD_AUTHENTICATION


def test_the_challenge_names_all_that_one_more_login_must_bring():
    principal = Principal("https://id.example", "u", acr="pwd", auth_time=NOW)
    with pytest.raises(InsufficientUserAuthentication) as caught:
        check_permission(principal, build_requirement(acr="phr mfa", max_age=60), now=NOW)
    refusal = build_refusal(caught.value, Challenges("beer"))
    assert refusal.status == 401
    assert dict(refusal.headers)["WWW-Authenticate"] == (
        'Bearer realm="beer", error="insufficient_user_authentication", '
        'error_description="A stronger or more recent login is required", acr_values="phr mfa", max_age="60"'
    )


def test_nobody_is_sent_to_log_in_again_for_what_stays_forbidden():
    assert isinstance(judge(max_age=300, scope="write"), InsufficientScope)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "300"])
def test_max_age_is_whole_seconds(wrong):
    with pytest.raises(ValueError, match="max_age"):
        build_requirement(max_age=wrong)


@pytest.mark.parametrize("name", ["acr", "permission", "tenant"])
@pytest.mark.parametrize("empty", ["", [], [""]])
def test_a_demand_that_names_nothing_is_a_mistake(name, empty):
    with pytest.raises(ValueError, match=r"names nothing|no permission"):
        build_requirement(**{name: empty})
