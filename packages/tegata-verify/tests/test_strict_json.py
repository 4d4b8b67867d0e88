"""One meaning for each text, whoever wrote it."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify.strict_json import DuplicateMember, MalformedJson, parse_json_object

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain, max_size=4), st.booleans())
@relaxed
def test_what_json_writes_is_read_back(value, ascii_only):
    assert parse_json_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary())
@relaxed
def test_any_bytes_are_an_object_or_malformed(data):
    with suppress(MalformedJson):
        assert isinstance(parse_json_object(data), dict)


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'{"x":{"a":1,"\\u0061":2}}', b'{"x":[{"a":1,"a":2}]}'])
def test_a_repeated_member_is_refused_at_any_depth_and_in_any_spelling(data):
    with pytest.raises(DuplicateMember):
        parse_json_object(data)
