"""Parameters: strict from bytes, each at most once, and the same after being stored (RFC 6749 §3.1, §3.2)."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.protocol.errors import OAuthError
from tegata.protocol.parameters import MAX_FIELDS, MAX_VALUE_CHARACTERS, Parameters, parse_form

from .outcome import outcome_of

text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40)
names = text.filter(lambda name: name != "resource")
pairs = st.lists(st.tuples(st.one_of(names, st.just("resource")), text), max_size=12)


def values_of(parameters: Parameters) -> list[str]:
    return [*parameters, *parameters.values(), *parameters.all("resource")]


@given(st.binary(max_size=300))
@example(b"%00=1")
@example(b"a=%C2%85")
@example(b"a=%ff")
@example(b"a=%ED%A0%80")
@example(b"a=%")
@example(b"=&=&&=")
def test_any_bytes_are_refused_or_become_plain_text(raw: bytes) -> None:
    parameters = outcome_of(lambda: parse_form(raw))
    if not isinstance(parameters, Parameters):
        assert parameters.code == "invalid_request"
        return
    for value in values_of(parameters):
        value.encode("utf-8")
        assert not any(unicodedata.category(character) == "Cc" for character in value)


@given(st.dictionaries(names, text.filter(bool), max_size=12))
def test_what_the_standard_library_encodes_is_read_again(sent: dict[str, str]) -> None:
    assert dict(parse_form(urlencode(sent).encode())) == sent


@given(pairs)
def test_a_stored_request_is_the_same_when_it_is_taken_up(sent: list[tuple[str, str]]) -> None:
    parameters = Parameters(sent)
    again = Parameters.from_document(json.loads(json.dumps(parameters.document())))
    assert dict(again) == dict(parameters)
    assert again.all("resource") == parameters.all("resource")
    assert again.repeated == parameters.repeated


@given(names, st.lists(text, min_size=2, max_size=4))
def test_a_repeated_parameter_has_no_value_and_is_refused(name: str, values: list[str]) -> None:
    parameters = Parameters([(name, value) for value in values])
    assert name not in parameters
    assert parameters.get(name) is None
    with pytest.raises(OAuthError) as refused:
        parameters.check_not_repeated()
    assert refused.value.reason == "parameter_repeated"


@pytest.mark.parametrize("raw", [b"a=&a=1", b"a=1&a=", b"a&a", b"a=1&b=2&a=1", b"a=1&%61=1", b"a=1&a=2&a=3"])
def test_a_repeat_is_seen(raw: bytes) -> None:
    assert parse_form(raw).repeated == {"a"}


def test_a_refusal_of_repeats_names_them_only_in_ascii() -> None:
    """RFC 6749 §5.2: error_description has no characters outside %x20-7E."""
    parameters = parse_form('état=1&état=2&scope=1&scope=2&a"b=1&a"b=2'.encode())
    with pytest.raises(OAuthError) as refused:
        parameters.check_not_repeated()
    assert "scope" in refused.value.description
    assert refused.value.description.isascii()
    assert '"' not in refused.value.description


def test_resource_may_stand_several_times() -> None:
    parameters = parse_form(b"resource=a&resource=&resource=b&resource=a")
    assert parameters.all("resource") == ("a", "b", "a")
    assert parameters.repeated == frozenset()
    assert "resource" not in parameters


def test_an_empty_parameter_is_absent() -> None:
    parameters = parse_form(b"state=&nonce=x")
    assert parameters.get("state") is None
    with pytest.raises(OAuthError) as refused:
        parameters.require("state")
    assert refused.value.reason == "parameter_missing"
    assert parameters.require("nonce") == "x"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"a=%00", id="NUL"),
        pytest.param(b"a=b\x00c", id="NUL that is not encoded"),
        pytest.param(b"a%0A=b", id="line feed in a name"),
        pytest.param(b"a=%0d%0aSet-Cookie:x", id="a header in a value"),
        pytest.param(b"a=%1b[2J", id="escape"),
        pytest.param(b"a=%7f", id="delete"),
        pytest.param(b"a=%c2%9b2J", id="escape of the upper control characters"),
        pytest.param(b"a=%ff", id="no UTF-8"),
        pytest.param(b"a=%c0%80", id="NUL in two bytes"),
        pytest.param(b"a=%ed%a0%80", id="lone surrogate"),
        pytest.param(b"a=\xe9", id="Latin-1"),
    ],
)
def test_what_is_not_text_is_refused(raw: bytes) -> None:
    with pytest.raises(OAuthError) as refused:
        parse_form(raw)
    assert refused.value.reason == "malformed"


def test_the_claims_parameter_may_be_laid_out_over_lines() -> None:
    """OIDC Core §5.5: it is JSON, and RFC 8259 §2 lets line ends and tabs stand between its tokens."""
    laid_out = '{\r\n\t"id_token": {\n "acr": null } }'
    assert json.loads(parse_form(urlencode({"claims": laid_out}).encode())["claims"]) == {"id_token": {"acr": None}}


def test_the_number_of_parameters_is_bounded() -> None:
    assert len(parse_form(b"&".join(b"a%d=1" % n for n in range(MAX_FIELDS)))) == MAX_FIELDS
    for raw in (b"&".join(b"a%d=1" % n for n in range(MAX_FIELDS + 1)), b"&" * MAX_FIELDS):
        with pytest.raises(OAuthError) as refused:
            parse_form(raw)
        assert refused.value.reason == "too_many_parameters"


def test_the_length_of_a_parameter_is_bounded() -> None:
    assert parse_form(b"a=" + b"x" * MAX_VALUE_CHARACTERS)["a"]
    with pytest.raises(OAuthError) as refused:
        parse_form(b"a=" + b"x" * (MAX_VALUE_CHARACTERS + 1))
    assert refused.value.reason == "parameter_too_long"
