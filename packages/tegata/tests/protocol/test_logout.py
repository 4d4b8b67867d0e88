"""RP-initiated logout: who is asked, who is believed, and where the browser goes (RP-Initiated Logout §2, §3, §6)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.protocol import logout
from tegata.protocol.client import Client, ClientMetadata
from tegata.protocol.errors import Refused
from tegata.protocol.logout import LogoutDecision, LogoutRequest
from tegata.protocol.parameters import Parameters

from .outcome import outcome_of

URI = "https://rp.example/bye"
CLIENT = Client("web", ClientMetadata(post_logout_redirect_uris=(URI,)))
DISABLED = replace(CLIENT, metadata=replace(CLIENT.metadata, disabled=True))
HINT = {"aud": "web", "sub": "anna"}
NOTHING = LogoutRequest(None, None, None, None)
BACK = LogoutRequest(None, "web", URI, "s")


def test_the_parameters_are_read() -> None:
    sent = Parameters([("id_token_hint", "h"), ("client_id", "c"), ("post_logout_redirect_uri", "u"), ("state", "s")])
    assert logout.parse(sent) == LogoutRequest("h", "c", "u", "s")
    assert logout.parse(Parameters([])) == NOTHING


def test_a_repeated_parameter_is_a_page_and_never_a_redirect() -> None:
    with pytest.raises(Refused) as refused:
        logout.parse(Parameters([("state", "a"), ("state", "b")]))
    assert refused.value.reason == "parameter_repeated"


@pytest.mark.parametrize(
    ("signed_in", "same_person", "hint", "request_", "decision"),
    [
        pytest.param(False, False, None, NOTHING, LogoutDecision(False, None, False), id="nobody signed in"),
        pytest.param(True, False, None, NOTHING, LogoutDecision(True, None, False), id="a bare link"),
        pytest.param(True, False, None, BACK, LogoutDecision(True, URI, False), id="a link that wants to go on"),
        pytest.param(True, False, HINT, BACK, LogoutDecision(True, URI, True), id="a hint about somebody else"),
        pytest.param(True, True, HINT, BACK, LogoutDecision(False, URI, True), id="a hint about this person"),
        pytest.param(True, True, HINT, NOTHING, LogoutDecision(False, None, True), id="a hint, and nowhere to go"),
        pytest.param(False, False, HINT, BACK, LogoutDecision(False, URI, True), id="signed out before, with a hint"),
        pytest.param(False, False, None, BACK, LogoutDecision(False, URI, False), id="signed out before, no hint"),
    ],
)
def test_the_decision(
    signed_in: bool, same_person: bool, hint: dict[str, Any] | None, request_: LogoutRequest, decision: LogoutDecision
) -> None:
    assert logout.decide(request_, hint, CLIENT, signed_in=signed_in, same_person=same_person) == decision


@pytest.mark.parametrize(("signed_in", "same_person"), list(product([True, False], repeat=2)))
@pytest.mark.parametrize(
    ("uri", "client", "reason"),
    [
        pytest.param(URI, None, "no_client", id="unknown client"),
        pytest.param(URI, DISABLED, "no_client", id="disabled client"),
        pytest.param(URI + "/", CLIENT, "post_logout_redirect_uri_not_registered", id="a longer path"),
        pytest.param(URI + "?x", CLIENT, "post_logout_redirect_uri_not_registered", id="a query"),
        pytest.param("https://evil.example/", CLIENT, "post_logout_redirect_uri_not_registered", id="another site"),
        pytest.param("javascript:alert(1)", CLIENT, "post_logout_redirect_uri_not_registered", id="a script"),
    ],
)
def test_an_unverified_address_is_a_page_for_everybody(
    uri: str, client: Client | None, reason: str, signed_in: bool, same_person: bool
) -> None:
    with pytest.raises(Refused) as refused:
        logout.decide(
            replace(BACK, post_logout_redirect_uri=uri), HINT, client, signed_in=signed_in, same_person=same_person
        )
    assert refused.value.reason == reason


@given(st.text(), st.booleans(), st.booleans(), st.sampled_from([None, HINT]))
def test_the_browser_only_ever_goes_to_a_registered_address(
    uri: str, signed_in: bool, same_person: bool, hint: dict[str, Any] | None
) -> None:
    request = replace(BACK, post_logout_redirect_uri=uri)
    decision = outcome_of(lambda: logout.decide(request, hint, CLIENT, signed_in=signed_in, same_person=same_person))
    if isinstance(decision, LogoutDecision):
        assert decision.continue_uri == URI


def test_the_client_is_the_hints_audience_or_named() -> None:
    assert logout.client_id_for(NOTHING, None) is None
    assert logout.client_id_for(NOTHING, HINT) == "web"
    assert logout.client_id_for(BACK, None) == "web"
    assert logout.client_id_for(BACK, HINT) == "web"


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        ({"aud": "other"}, "hint_client_mismatch"),
        ({"aud": ["web"]}, "hint_audience"),
        ({"aud": 5}, "hint_audience"),
        ({"aud": {}}, "hint_audience"),
    ],
)
def test_a_hint_that_contradicts_the_client_is_a_page(hint: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        logout.client_id_for(BACK, hint)
    assert refused.value.reason == reason
