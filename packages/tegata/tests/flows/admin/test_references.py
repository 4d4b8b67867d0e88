"""References: where secrets are read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tegata.flows.admin.references import MAX_BYTES, SchemeReferences, Unresolvable, standard_references

REFERENCES = standard_references({"NAME": "value", "EMPTY": "", "CONTROL": "a\x01b"})


def refusal(reference: str) -> str:
    with pytest.raises(Unresolvable) as caught:
        REFERENCES.resolve(reference)
    return str(caught.value)


def test_a_variable_is_read() -> None:
    assert REFERENCES.resolve("env:NAME") == "value"


def test_a_file_is_read_without_its_last_line_break(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for written, read in (("one\n", "one"), ("two\r\n", "two"), (" three \n\n", " three \n"), ("four", "four")):
        path.write_bytes(written.encode())
        assert REFERENCES.resolve(f"file:{path}") == read


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:ABSENT", "not set"),
        ("env:EMPTY", "empty"),
        ("env:CONTROL", "not text"),
        ("env:", "not a reference"),
        ("awssm:name", "not a reference"),
        ("value", "not a reference"),
        ("file:relative", "absolute"),
        ("file:/does/not/exist", "cannot be read"),
        ("file:/tmp", "cannot be read"),
    ],
)
def test_what_leads_nowhere_is_told(reference: str, words: str) -> None:
    assert words in refusal(reference)


def test_files_that_are_too_large_or_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"a" * (MAX_BYTES + 1))
    assert "larger" in refusal(f"file:{path}")
    path.write_bytes(b"\xff\xfe")
    assert "UTF-8" in refusal(f"file:{path}")


def test_another_scheme_is_one_more_entry() -> None:
    assert SchemeReferences({"awssm": str.upper}).resolve("awssm:name") == "NAME"
