"""One token, in one header, and nowhere else."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify import InvalidRequest, MissingToken, Reason, parse_bearer

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def headers(*values):
    return [(b"host", b"api"), *((b"authorization", value) for value in values)]


@pytest.mark.parametrize(
    "value",
    [b"Bearer a.b-c_d~e+f/g==", b"bearer a.b-c_d~e+f/g==", b"BEARER   a.b-c_d~e+f/g==", b" Bearer a.b-c_d~e+f/g== "],
)
def test_the_token_is_found_whatever_the_case_of_the_scheme(value):
    assert parse_bearer(headers(value), b"page=2") == "a.b-c_d~e+f/g=="


@pytest.mark.parametrize(
    "values", [[], [b""], [b"Basic dTpw"], [b"DPoP abc"], [b"Bearerabc"], [b"abc"], [b"Negotiate"]]
)
def test_no_bearer_token_is_no_error_of_the_client(values):
    with pytest.raises(MissingToken):
        parse_bearer(headers(*values))


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer a b",
        b"Bearer a,Bearer b",
        b"Bearer \xff",
        b'Bearer "a"',
        b"Bearer =",
        b"Bearer a=b",
        b"Bearer a\tb",
        b"Bearer a\x00",
        b"Bearer a\n",
    ],
)
def test_a_malformed_header_is_an_invalid_request(value):
    with pytest.raises(InvalidRequest) as caught:
        parse_bearer(headers(value))
    assert caught.value.reason == Reason.MALFORMED_AUTHORIZATION


@pytest.mark.parametrize("second", [b"Bearer a", b"Bearer b", b"Basic dTpw", b""])
def test_of_two_headers_none_is_taken(second):
    for pair in ([b"Bearer a", second], [second, b"Bearer a"]):
        with pytest.raises(InvalidRequest) as caught:
            parse_bearer(headers(*pair))
        assert caught.value.reason == Reason.REPEATED_AUTHORIZATION


@pytest.mark.parametrize(
    "query",
    [
        b"access_token=a",
        b"x=1&access_token=a",
        b"access%5Ftoken=a",
        b"access%5ftok%65n&x",
        b"%61ccess_token",
        b"access_token=",
        b"%61%63%63%65%73%73%5F%74%6F%6B%65%6E=a",
        b"x=1;access_token=a",
        b"%zz&access_token=a",
    ],
)
@pytest.mark.parametrize("values", [[], [b"Bearer a"]])
def test_a_token_in_the_address_is_refused_even_beside_a_header(query, values):
    with pytest.raises(InvalidRequest) as caught:
        parse_bearer(headers(*values), query)
    assert caught.value.reason == Reason.TOKEN_IN_QUERY


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"q=access_token",
        b"my_access_token=1",
        b"access_tokens=1",
        b"access_token%20=1",
        b"access%255Ftoken=a",
        b"access_token\n=a",
        b"Access_Token=a",
        b"%zz=%",
        b"\xff\xfe=%ff",
    ],
)
def test_other_queries_do_not_disturb(query):
    assert parse_bearer(headers(b"Bearer a"), query) == "a"


SPELLINGS = st.lists(
    st.sampled_from([*"access_token", "access_token", "a%63cess_token", "%", "%5F", "%5f", "&", "=", ";", "x", "+"]),
    max_size=24,
).map("".join)


@given(SPELLINGS)
@relaxed
def test_a_name_is_found_where_a_form_has_it(query):
    has = any(name == "access_token" for name, _ in parse_qsl(query.replace(";", "&"), keep_blank_values=True))
    try:
        parse_bearer(headers(b"Bearer a"), query.encode())
    except InvalidRequest:
        assert has
    else:
        assert not has


def test_a_long_query_and_a_long_header_are_read_once():
    long = b"&".join([b"%61ccess_toke=" + b"%61" * 20] * 20_000)
    assert parse_bearer(headers(b"Bearer a"), long) == "a"
    with pytest.raises(InvalidRequest):
        parse_bearer(headers(b"Bearer " + b"a" * 3_000_000 + b"=" * 3_000_000 + b"!"))


@given(st.lists(st.binary(max_size=30) | st.binary(max_size=30).map(lambda b: b"Bearer " + b), max_size=3), st.binary())
@relaxed
def test_any_headers_and_query_give_a_token_or_a_refusal(values, query):
    with suppress(MissingToken, InvalidRequest):
        assert parse_bearer(headers(*values), query).isascii()
