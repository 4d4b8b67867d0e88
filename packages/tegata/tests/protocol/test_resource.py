"""Resource indicators: one known resource for each token, and never one that was not granted (RFC 8707 §2)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.protocol import resource
from tegata.protocol.client import ClientMetadata
from tegata.protocol.errors import OAuthError
from tegata.protocol.policy import Resource, TenantPolicy

from .outcome import outcome_of

ORDERS, STOCK = "https://orders.example/", "urn:stock"
ISSUER = "https://id.example/t"
POLICY = TenantPolicy(resources=(Resource(ORDERS, scopes=("read", "openid")), Resource(STOCK)))
CLIENT = ClientMetadata()


@given(st.lists(st.text() | st.sampled_from([ORDERS, STOCK]), max_size=12))
@example(["http://["])
@example(["https://[::1/"])
@example(["https://\u2100.example/"])
def test_any_texts_are_refused_or_known(values: list[str]) -> None:
    found = outcome_of(lambda: resource.parse(values, POLICY))
    if isinstance(found, tuple):
        assert set(found) <= {ORDERS, STOCK}
    else:
        assert found.code == "invalid_target"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("orders", "resource_malformed"),
        ("/orders", "resource_malformed"),
        (ORDERS + "#", "resource_malformed"),
        (ORDERS + "#all", "resource_malformed"),
        ("http://[", "resource_not_allowed"),
        ("https://orders.example", "resource_not_allowed"),
        ("HTTPS://orders.example/", "resource_not_allowed"),
        (ORDERS + "?x", "resource_not_allowed"),
        ("urn:other", "resource_not_allowed"),
    ],
)
def test_a_resource_is_refused(value: str, reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        resource.parse([ORDERS, value], POLICY)
    assert (refused.value.code, refused.value.reason) == ("invalid_target", reason)


def test_resources_keep_their_order_without_repeats_and_are_bounded() -> None:
    assert resource.parse([STOCK, ORDERS, STOCK], POLICY) == (STOCK, ORDERS)
    with pytest.raises(OAuthError):
        resource.parse([STOCK] * (resource.MAX_RESOURCES + 1), POLICY)


def audience(requested: tuple[str, ...], granted: tuple[str, ...], client: ClientMetadata = CLIENT) -> tuple[str, ...]:
    return resource.audience(requested, granted, client, POLICY, ISSUER)


@pytest.mark.parametrize(
    ("requested", "granted", "expected"),
    [
        pytest.param((), (), (ISSUER,), id="nothing named"),
        pytest.param((), (ORDERS,), (ORDERS,), id="the only one granted"),
        pytest.param((ORDERS,), (ORDERS, STOCK), (ORDERS,), id="one of those granted"),
        pytest.param((ORDERS,), (), (ORDERS,), id="named at the token endpoint only"),
    ],
)
def test_the_audience_is(requested: tuple[str, ...], granted: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert audience(requested, granted) == expected


@pytest.mark.parametrize(
    ("requested", "granted", "reason"),
    [
        pytest.param((STOCK,), (ORDERS,), "resource_not_granted", id="another one"),
        pytest.param((STOCK, ORDERS), (ORDERS,), "resource_not_granted", id="one more"),
        pytest.param((), (ORDERS, STOCK), "resource_ambiguous", id="two granted, none named"),
        pytest.param((ORDERS, STOCK), (ORDERS, STOCK), "resource_ambiguous", id="two named"),
        pytest.param((ORDERS, STOCK), (), "resource_ambiguous", id="two named, none granted"),
    ],
)
def test_no_audience(requested: tuple[str, ...], granted: tuple[str, ...], reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        audience(requested, granted)
    assert (refused.value.code, refused.value.reason) == ("invalid_target", reason)


def test_the_clients_default_comes_before_the_tenants_and_that_before_the_issuer() -> None:
    policy = TenantPolicy(default_audience=("a", "b"))
    assert resource.audience((), (), CLIENT, policy, ISSUER) == ("a", "b")
    assert resource.audience((), (), ClientMetadata(default_audience=("c",)), policy, ISSUER) == ("c",)
    assert resource.audience((), (), ClientMetadata(default_audience=()), policy, ISSUER) == (ISSUER,)
    assert resource.audience((STOCK,), (), ClientMetadata(default_audience=("c",)), POLICY, ISSUER) == (STOCK,)


some = st.lists(st.sampled_from([ORDERS, STOCK, "urn:third"]), unique=True).map(tuple)


@given(some, some)
def test_a_token_never_has_an_audience_outside_what_was_granted(
    requested: tuple[str, ...], granted: tuple[str, ...]
) -> None:
    found = outcome_of(lambda: audience(requested, granted))
    if isinstance(found, tuple):
        assert len(found) == 1
        assert not granted or set(found) <= set(granted)


def test_scopes_that_mean_nothing_at_the_resource_leave_the_token() -> None:
    scopes = ("openid", "write", "read")
    assert resource.scopes_at((ORDERS,), scopes, POLICY) == ("openid", "read")
    assert resource.scopes_at((STOCK,), scopes, POLICY) == scopes
    assert resource.scopes_at((ISSUER,), scopes, POLICY) == scopes
    assert resource.scopes_at((STOCK, ORDERS), scopes, POLICY) == ("openid", "read")
