"""Scopes: which may be asked for, by a person's client and by a service (RFC 6749 §3.3, OIDC Core §3.1.2.1, §5.4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.protocol import scopes
from tegata.protocol.client import ClientMetadata
from tegata.protocol.errors import OAuthError
from tegata.protocol.policy import ScopeText, TenantPolicy

from .outcome import outcome_of

Rule = Callable[[str, ClientMetadata, TenantPolicy], tuple[str, ...]]

POLICY = TenantPolicy(scopes=(ScopeText("read"), ScopeText("write"), ScopeText("admin")))
ANY = ClientMetadata()
READER = ClientMetadata(scope="openid email read unknown")


@given(st.text())
def test_any_text_is_refused_or_becomes_scope_tokens(text: str) -> None:
    tokens = outcome_of(lambda: scopes.parse(text))
    if not isinstance(tokens, tuple):
        assert (tokens.code, tokens.reason) == ("invalid_scope", "scope_malformed")
        return
    assert len(set(tokens)) == len(tokens)
    assert scopes.parse(" ".join(tokens)) == tokens
    assert all(token and token.isascii() and not set(token) & set(' "\\') for token in tokens)


@pytest.mark.parametrize(
    "text", ['a"b', "a\\b", "a\tb", "a\nb", "ä", "openid\u3000email", "openid\u00a0email", "a\x7f"]
)
def test_characters_that_no_scope_token_has_are_refused(text: str) -> None:
    with pytest.raises(OAuthError) as refused:
        scopes.parse(text)
    assert refused.value.reason == "scope_malformed"


def test_order_is_kept_and_repeats_are_dropped() -> None:
    assert scopes.parse("write  openid write read ") == ("write", "openid", "read")
    assert scopes.parse(None) == scopes.parse("") == scopes.parse("   ") == ()


def test_the_number_of_scopes_is_bounded() -> None:
    assert len(scopes.parse(" ".join(f"s{n}" for n in range(scopes.MAX_SCOPES)))) == scopes.MAX_SCOPES
    with pytest.raises(OAuthError):
        scopes.parse(" ".join(f"s{n}" for n in range(scopes.MAX_SCOPES + 1)))


def test_a_client_may_ask_for_what_it_registered_and_the_tenant_has() -> None:
    assert scopes.allowed(READER, POLICY) == ("openid", "email", "read")
    assert scopes.allowed(ANY, POLICY) == (*scopes.OPENID_SCOPES, "read", "write", "admin")
    assert scopes.allowed(ClientMetadata(scope=""), POLICY) == ()


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        pytest.param("openid read", ("openid", "read"), id="all of them"),
        pytest.param("openid read admin nonsense", ("openid", "read"), id="openid, and some it may not have"),
        pytest.param("read", ("read",), id="plain OAuth"),
    ],
)
def test_a_person_grants(requested: str, granted: tuple[str, ...]) -> None:
    assert scopes.for_user(requested, READER, POLICY) == granted


@pytest.mark.parametrize(
    ("requested", "reason"),
    [
        pytest.param(None, "scope_missing", id="nothing"),
        pytest.param("  ", "scope_missing", id="spaces"),
        pytest.param("admin", "scope_not_allowed", id="one it may not have"),
        pytest.param("read admin", "scope_not_allowed", id="plain OAuth, and one it may not have"),
        pytest.param("OPENID read", "scope_not_allowed", id="openid in capitals"),
    ],
)
def test_a_person_is_not_even_asked_for(requested: str | None, reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        scopes.for_user(requested, READER, POLICY)
    assert (refused.value.code, refused.value.reason) == ("invalid_scope", reason)


token = st.sampled_from([*scopes.OPENID_SCOPES, "read", "write", "admin", "nonsense"])
registered = st.one_of(st.none(), st.lists(token).map(" ".join))


@given(st.lists(token).map(" ".join), registered)
@pytest.mark.parametrize("rule", [scopes.for_user, scopes.for_service])
def test_nobody_gets_more_than_is_registered_and_exists(rule: Rule, requested: str, registered: str | None) -> None:
    client = ClientMetadata(scope=registered)
    granted = outcome_of(lambda: rule(requested, client, POLICY))
    if isinstance(granted, tuple):
        assert set(granted) <= set(scopes.allowed(client, POLICY))
        assert set(granted) <= set(requested.split() or granted)


@pytest.mark.parametrize("requested", ["openid", "offline_access", "read email", "write"])
def test_a_service_has_no_scopes_about_a_person_nor_unregistered_ones(requested: str) -> None:
    with pytest.raises(OAuthError) as refused:
        scopes.for_service(requested, READER, POLICY)
    assert refused.value.reason == "scope_not_allowed"


def test_a_service_that_names_no_scope_gets_its_registered_ones_and_never_all() -> None:
    assert scopes.for_service(None, READER, POLICY) == ("read",)
    assert scopes.for_service(None, ANY, POLICY) == ()
    with pytest.raises(OAuthError) as refused:
        scopes.for_service("read", ANY, POLICY)
    assert refused.value.reason == "scope_not_allowed"
