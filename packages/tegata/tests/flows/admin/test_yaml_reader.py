"""YAML is read strictly and with bounds."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tegata.flows.admin.export import to_yaml
from tegata.flows.admin.problems import InvalidDocuments
from tegata.flows.admin.yaml_reader import MAX_BYTES, MAX_DEPTH, is_storable, read_documents

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def refusal(text: str | bytes) -> str:
    with pytest.raises(InvalidDocuments) as caught:
        read_documents(text, "x.yaml")
    return str(caught.value)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4))
def test_what_export_writes_is_read_back_as_the_same_values(value: dict[str, object]) -> None:
    (found,) = read_documents(to_yaml([value]), "x.yaml")
    assert found.value == value


def outcome(text: str | bytes) -> str:
    """What is told about the text; empty if it was read and is JSON."""
    try:
        for document in read_documents(text, "x.yaml"):
            json.dumps(document.value)
    except InvalidDocuments as error:
        return str(error)
    return ""


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    told = outcome(text)
    assert told == "" or told.startswith("x.yaml")


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused_with_a_sentence(raw: bytes) -> None:
    told = outcome(raw)
    assert told == "" or told.startswith("x.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2001-01-01", "2001-01-01"),
        ("+81312345678", "+81312345678"),
        ("0123", "0123"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("true", True),
        ("~", None),
        ("-12", -12),
        ("1.5", 1.5),
        ("'1'", "1"),
        ('"true"', "true"),
        ("9" * 30, "9" * 30),
    ],
)
def test_scalars_are_resolved_as_json_would(text: str, value: object) -> None:
    (found,) = read_documents(f"a: {text}\nb: 1", "x.yaml")
    assert found.value["a"] == value
    assert type(found.value["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param("a: &x 1\nb: *x", 2, "alias", id="an alias"),
        pytest.param("a: &a [1]\nb: &b [*a, *a]", 2, "alias", id="a bomb of aliases"),
        pytest.param("a: 1\na: 2", 2, "stands twice", id="a repeated name"),
        pytest.param("a: !!python/object/apply:os.system [x]", 1, "tag", id="a tag that runs code"),
        pytest.param("a: !!str 1", 1, "tag", id="a harmless tag"),
        pytest.param("1: 2", 1, "quotes", id="a name that is no text"),
        pytest.param("? [a]\n: b", 1, "quotes", id="a list as a name"),
        pytest.param("a: [", 2, "not YAML", id="an open list"),
        pytest.param('a: "\\0"', 1, "control characters", id="an escaped NUL"),
        pytest.param("[" * (MAX_DEPTH + 1), 1, "nested", id="deep nesting"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, line: int, words: str) -> None:
    told = refusal(text)
    assert told.startswith(f"x.yaml:{line}:")
    assert words in told


def test_depth_is_bounded_without_recursion() -> None:
    assert "nested" in refusal("[" * 100_000)


def test_size_is_bounded() -> None:
    assert "larger" in refusal("#" * (MAX_BYTES + 1))


def test_the_number_of_values_is_bounded() -> None:
    assert "values" in refusal("[" + "1," * 150_000 + "]")


def test_a_byte_order_mark_and_empty_documents_do_not_matter() -> None:
    found = read_documents(b"\xef\xbb\xbf---\n---\na: 1\n---\n", "x.yaml")
    assert [document.value for document in found] == [{"a": 1}]


def test_lines_of_nested_parts_are_known() -> None:
    (found,) = read_documents("a:\n  b:\n    - 1\n    - 2\n", "x.yaml")
    assert found.line_of(("a", "b", 1)) == 4
    assert found.line_of(("a", "b", 7, "absent")) == 2


def test_the_python_parser_reads_the_same_as_the_c_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: [1, 'x', {b: no}]\nc: |\n  lines\n  more\n"
    quick = read_documents(text, "x.yaml")
    monkeypatch.setattr("tegata.flows.admin.yaml_reader._LOADER", yaml.SafeLoader)
    assert read_documents(text, "x.yaml") == quick


@pytest.mark.parametrize("text", ["\x00", "\x1f", "\x7f", "\x9b", "\ud800", "a\rb"])
def test_control_characters_and_surrogates_are_not_storable(text: str) -> None:
    assert not is_storable(text)
