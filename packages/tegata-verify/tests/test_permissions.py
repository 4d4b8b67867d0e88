"""Scope and role must both allow."""

from __future__ import annotations

import pytest

from tegata_verify import InsufficientScope, Principal, Reason, build_requirement, check_permission


def judge(scopes, roles, **demand):
    principal = Principal("https://id.example", "u", scopes=frozenset(scopes), roles=frozenset(roles))
    try:
        check_permission(principal, build_requirement(**demand))
    except InsufficientScope as refusal:
        return refusal.reason
    return None


@pytest.mark.parametrize(
    ("scopes", "roles", "demand", "reason"),
    [
        ([], [], {}, None),
        (["read"], [], {"scope": "read"}, None),
        (["read"], [], {"scope": "write"}, Reason.MISSING_SCOPE),
        (["reading"], [], {"scope": "read"}, Reason.MISSING_SCOPE),
        (["Read"], [], {"scope": "read"}, Reason.MISSING_SCOPE),
        (["read"], [], {"scope": {"read", "write"}}, Reason.MISSING_SCOPE),
        (["read", "write"], [], {"scope": {"read", "write"}}, None),
        (["read", "write"], [], {"scope": "read write"}, None),
        (["read"], [], {"scope": "read write"}, Reason.MISSING_SCOPE),
        ([], ["viewer"], {"role": "viewer"}, None),
        ([], ["view"], {"role": "viewer"}, Reason.MISSING_ROLE),
        ([], ["viewer"], {"role": {"viewer", "admin"}}, None),
        ([], ["editor"], {"role": {"viewer", "admin"}}, Reason.MISSING_ROLE),
        (["write"], ["viewer"], {"scope": "write", "role": "admin"}, Reason.MISSING_ROLE),
        (["read"], ["admin"], {"scope": "write", "role": "admin"}, Reason.MISSING_SCOPE),
        (["write"], ["admin"], {"scope": "write", "role": "admin"}, None),
        ([], [], {"scope": "write", "role": "admin"}, Reason.MISSING_SCOPE),
    ],
)
def test_every_scope_and_any_role_are_needed(scopes, roles, demand, reason):
    assert judge(scopes, roles, **demand) == reason


@pytest.mark.parametrize("empty", ["", [], (), set(), [""]])
@pytest.mark.parametrize("name", ["scope", "role"])
def test_a_requirement_that_names_nothing_is_a_mistake(name, empty):
    with pytest.raises(ValueError, match="names nothing"):
        build_requirement(**{name: empty})


def test_only_a_missing_scope_tells_the_client_what_to_ask_for():
    principal = Principal("https://id.example", "u", scopes=frozenset({"write"}))
    with pytest.raises(InsufficientScope) as caught:
        check_permission(principal, build_requirement(scope="write admin", role="admin"))
    assert caught.value.scopes == ("admin", "write")
    with pytest.raises(InsufficientScope) as caught:
        check_permission(principal, build_requirement(scope="write", role="admin"))
    assert caught.value.scopes == ()
