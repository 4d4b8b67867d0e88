"""Policies: scope and role must both grant, by tenant, and nothing that is not written down."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify import (
    AccessError,
    AccessPolicy,
    HttpRequest,
    PolicyError,
    Principal,
    Reason,
    build_policy,
    build_requirement,
    check_permission,
)
from tegata_verify.policy import allows, find_method, overlap
from tegata_verify.policy_file import read_policy

# A busy machine must not fail this: without it an example may take a fifth of a second.
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))

SEED = read_policy(Path(__file__).parents[4] / "examples/fastapi-resource-server/access-policy.yaml")
ISSUER = "https://id.example.com/demo"


def caller(scopes="", roles=(), *, tenant="demo", issuer=ISSUER, client_id=None, subject="u"):
    return Principal(
        issuer, subject, client_id=client_id, tenant=tenant, scopes=frozenset(scopes.split()), roles=frozenset(roles)
    )


def judge(policy, principal, method="GET", **demand):
    try:
        check_permission(principal, build_requirement(**demand), policy=policy, method=method)
    except AccessError as refusal:
        return refusal.reason
    return None


@pytest.mark.parametrize(
    ("scopes", "role", "method", "permission", "reason"),
    [
        ("read", "researcher", "GET", "research:read", None),
        ("write", "researcher", "POST", "research:write", None),
        ("write", "researcher", "POST", "experiments:create", None),
        ("write", "developer", "PATCH", "products:write", None),
        ("write", "developer", "POST", "prototypes:request", None),
        ("write", "evaluator", "POST", "evaluations:record", None),
        ("read", "viewer", "GET", "research:read", None),
        ("read", "viewer", "HEAD", "research:read", None),
        ("admin", "admin", "POST", "users:create", None),
        ("admin", "admin", "DELETE", "administration:wipe", None),
        # The role says no.
        ("write", "viewer", "POST", "research:write", Reason.MISSING_PERMISSION),
        ("write", "researcher", "POST", "products:write", Reason.MISSING_PERMISSION),
        ("read", "evaluator", "GET", "research:read", Reason.MISSING_PERMISSION),
        ("admin", "researcher", "POST", "users:create", Reason.MISSING_PERMISSION),
        ("read", "unheard-of", "GET", "research:read", Reason.MISSING_PERMISSION),
        # The scope says no.
        ("read", "admin", "POST", "research:write", Reason.MISSING_SCOPE),
        ("write", "admin", "POST", "users:create", Reason.MISSING_SCOPE),
        ("write", "admin", "GET", "research:read", Reason.MISSING_SCOPE),
        ("", "admin", "GET", "research:read", Reason.MISSING_SCOPE),
        ("openid", "admin", "GET", "research:read", Reason.MISSING_SCOPE),
        # Nobody.
        ("read write admin", "admin", "OPTIONS", "research:read", Reason.NOT_IN_POLICY),
        ("read write admin", "admin", "WEBSOCKET", "research:read", Reason.NOT_IN_POLICY),
        ("read write admin", "admin", "get", "research:read", Reason.NOT_IN_POLICY),
    ],
)
def test_the_policy_of_the_laboratory_is_what_its_decision_record_says(scopes, role, method, permission, reason):
    assert judge(SEED, caller(scopes, [role]), method, permission=permission) == reason


@pytest.mark.parametrize(
    ("scopes", "roles", "method", "reason"),
    [
        ("read", ["viewer"], "GET", None),
        ("write", ["researcher"], "POST", None),
        ("write", ["viewer"], "POST", Reason.MISSING_PERMISSION),
        ("read", [], "GET", Reason.MISSING_PERMISSION),
        ("read", ["brewer"], "GET", Reason.MISSING_PERMISSION),
        ("", ["viewer"], "GET", Reason.MISSING_SCOPE),
    ],
)
def test_where_no_permission_is_named_scope_and_role_must_share_one(scopes, roles, method, reason):
    assert judge(SEED, caller(scopes, roles), method) == reason


def test_all_named_permissions_are_needed():
    both = ["research:write", "experiments:create"]
    assert judge(SEED, caller("write", ["researcher"]), "POST", permission=both) is None
    assert judge(SEED, caller("write", ["researcher"]), "POST", permission=[*both, "products:write"]) is not None


def test_only_names_that_the_policy_knows_count():
    assert judge(SEED, caller("read", ["viewer", "brewer"]), role="brewer") == Reason.MISSING_ROLE
    assert judge(SEED, caller("read beers", ["viewer"]), scope="beers") == Reason.MISSING_SCOPE


def test_the_client_is_told_the_scope_only_if_one_alone_would_do():
    with pytest.raises(AccessError) as caught:
        check_permission(caller("", ["viewer"]), build_requirement(permission="users:list"), policy=SEED, method="PUT")
    assert caught.value.scopes == ()
    with pytest.raises(AccessError) as caught:
        check_permission(
            caller("write", ["admin"]), build_requirement(permission="users:list"), policy=SEED, method="PUT"
        )
    assert caught.value.scopes == ("admin",)


def test_a_policy_without_a_method_is_a_mistake_and_not_a_permission():
    with pytest.raises(ValueError, match="method"):
        check_permission(caller("read", ["admin"]), build_requirement(), policy=SEED)


def test_an_empty_policy_allows_nothing():
    assert judge(AccessPolicy(), caller("read", ["admin"])) == Reason.NOT_IN_POLICY


def test_without_a_policy_only_the_issuer_grants_permissions():
    demand = build_requirement(permission="research:read")
    check_permission(Principal(ISSUER, "u", permissions=frozenset({"research:read"})), demand)
    with pytest.raises(AccessError) as caught:
        check_permission(caller("read", ["admin"]), demand)
    assert caught.value.reason is Reason.MISSING_PERMISSION


SCOPES = {"read": {"methods": ["GET"], "permissions": ["*"]}}
BY_TENANT = AccessPolicy(
    roles={"viewer": ["beers:read"]},
    scopes=SCOPES,
    tenants={
        "acme": {"roles": {"viewer": ["ales:read"], "chief": ["*"]}},
        "https://id.example.com/other": {"roles": {"owner": ["*"]}},
        "closed": {"roles": {}},
    },
)


@pytest.mark.parametrize(
    ("principal", "permission", "allowed"),
    [
        (caller("read", ["viewer"]), "beers:read", True),
        (caller("read", ["viewer"], tenant=None), "beers:read", True),
        (caller("read", ["viewer"], tenant="acme"), "ales:read", True),
        (caller("read", ["viewer"], tenant="acme"), "beers:read", False),
        (caller("read", ["chief"], tenant="acme"), "anything:at:all", True),
        (caller("read", ["chief"], tenant="demo"), "beers:read", False),
        (caller("read", ["chief"], tenant="Acme"), "ales:read", False),
        (caller("read", ["viewer"], tenant="closed"), "beers:read", False),
        (caller("read", ["owner"], tenant="other", issuer="https://id.example.com/other"), "x:y", True),
        (caller("read", ["owner"], tenant="other", issuer="https://elsewhere.example/other"), "x:y", False),
        # A claim that looks like an issuer is no issuer.
        (caller("read", ["owner"], tenant="https://id.example.com/other"), "x:y", False),
    ],
)
def test_nobody_gets_what_another_tenant_allows(principal, permission, allowed):
    assert BY_TENANT.grants(principal, permission) is allowed
    assert (judge(BY_TENANT, principal, permission=permission) is None) is allowed


@pytest.mark.parametrize(
    ("tenant", "principal", "allowed"),
    [
        ("demo", caller(), True),
        ("other", caller(), False),
        (["other", "demo"], caller(), True),
        (ISSUER, caller(), True),
        (ISSUER, caller(issuer="https://id.example.com/other"), False),
        (ISSUER, caller(tenant=ISSUER, issuer="https://evil.example"), False),
        ("demo", caller(tenant=None), False),
    ],
)
def test_an_endpoint_may_be_for_some_tenants_alone(tenant, principal, allowed):
    assert judge(None, principal, tenant=tenant) == (None if allowed else Reason.WRONG_TENANT)


def test_a_client_that_acts_for_itself_has_the_roles_the_policy_gives_it():
    policy = AccessPolicy(roles={"developer": ["products:read"]}, scopes=SCOPES, clients={"line-7": ["developer"]})
    assert policy.grants(caller("read", client_id="line-7", subject="line-7"), "products:read")
    assert not policy.grants(caller("read", client_id="line-7", subject="somebody"), "products:read")
    assert not policy.grants(caller("read", client_id="line-8", subject="line-8"), "products:read")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the policy: is a list"),
        (None, "the policy: is empty"),
        ({"rolls": {}}, "rolls: not known here; write roles, scopes, clients or tenants"),
        ({"roles": None}, "roles: is empty"),
        ({"roles": ["viewer"]}, "roles: is a list"),
        ({"roles": {"viewer": "read"}}, "roles.viewer: is a text; write a list of names"),
        ({"roles": {"viewer": {"a": "b"}}}, "roles.viewer: is a group of names"),
        ({"roles": {"viewer": [1]}}, r"roles.viewer\[0\]: is a number"),
        ({"roles": {"viewer": ["a:b", "a:b"]}}, r"roles.viewer\[1\]: 'a:b' is there twice"),
        ({"roles": {1: []}}, "roles: has the name 1, which is a number"),
        ({"roles": {"two words": []}}, "roles: 'two words' is no name"),
        ({"roles": {"viewer": ["Research:read"]}}, r"roles.viewer\[0\]: 'Research:read' is no permission"),
        ({"roles": {"viewer": ["re*:read"]}}, "is no permission"),
        ({"roles": {"viewer": ["a::b"]}}, "is no permission"),
        ({"roles": {"viewer": [""]}}, "is no permission"),
        ({"roles": {"viewer": ["а:read"]}}, "is no permission"),  # Cyrillic
        ({"scopes": {"read": {"methods": ["GET"]}}}, "scopes.read: permissions are missing"),
        ({"scopes": {"read": {"permissions": ["*"]}}}, "scopes.read: methods are missing"),
        ({"scopes": {"read": {**SCOPES["read"], "roles": []}}}, "scopes.read.roles: not known here"),
        (
            {"scopes": {"read": {**SCOPES["read"], "methods": ["GETT"]}}},
            r"scopes.read.methods\[0\]: 'GETT' is no method",
        ),
        ({"scopes": {"read": {**SCOPES["read"], "methods": ["get"]}}}, "'get' is no method"),
        ({"scopes": {"read": {**SCOPES["read"], "methods": ["*"]}}}, r"'\*' is no method"),
        ({"clients": {"line-7": ["ghost"]}}, "clients: the client 'line-7' has the role 'ghost'"),
        ({"tenants": {"acme": {"role": {}}}}, "tenants.acme.role: not known here"),
        ({"tenants": {"acme": {"roles": {"viewer": 7}}}}, "tenants.acme.roles.viewer: is a number"),
        ({"tenants": {"acme": {"tenants": {}}}}, "tenants.acme.tenants: not known here"),
    ],
)
def test_what_is_not_exactly_a_policy_is_refused_with_its_place(document, message):
    with pytest.raises(PolicyError, match=message):
        build_policy(document)


@pytest.mark.parametrize("wrong", ["*", "research:*", "Research:read", "", "a b", "a:", ":a"])
def test_a_requirement_names_permissions_without_wildcards(wrong):
    with pytest.raises(ValueError, match=r"no permission|names nothing"):
        build_requirement(permission=wrong)
    with pytest.raises(ValueError, match="no permission"):
        SEED.grants(caller("read", ["admin"]), wrong)


PARTS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3).map(":".join)


@given(PARTS, PARTS, st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map(":".join))
@relaxed
def test_two_grants_overlap_whenever_one_permission_is_in_both(left, right, permission):
    assert overlap(left, right) is overlap(right, left)
    if allows([left], permission) and allows([right], permission):
        assert overlap(left, right)


@pytest.mark.parametrize(
    ("url", "method"), [("https://a.test/", "GET"), ("wss://a.test/", "WEBSOCKET"), ("WS://a.test", "WEBSOCKET")]
)
def test_opening_a_websocket_is_an_act_of_its_own(url, method):
    assert find_method(HttpRequest("GET", url, ())) == method
