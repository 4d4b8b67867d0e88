"""The choice of language (RFC 4647, RFC 9110 §12.5.4) and the message catalogues."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.web import rendering
from tegata.web.locales import LOCALES, Catalogue, choose_locale, load_catalogues

SUPPORTED = ("en", "ja", "pt-BR", "zh-Hant")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
MESSAGE_USE = re.compile(r"\bt\(\s*(?:\"([a-z_]+)\"|'([a-z_]+)'|([^\"'\s]))")
TABLES = ("SIGN_IN_ERRORS", "ERROR_TITLES", "ERROR_ADVICE", "SCOPE_TEXTS", "CLAIM_TEXTS")


@pytest.mark.parametrize(
    ("ui_locales", "accept_language", "expected"),
    [
        pytest.param(None, None, "en", id="nothing asked gives the default"),
        pytest.param(None, "ja,en;q=0.5", "ja", id="first range of the browser"),
        pytest.param(None, "en;q=0.5, ja;q=0.9", "ja", id="higher weight wins over order"),
        pytest.param(None, "JA-jp", "ja", id="case and region do not matter"),
        pytest.param(None, "fr, de;q=0.9, ja;q=0.1", "ja", id="unknown languages are passed over"),
        pytest.param(None, "fr", "en", id="only unknown languages"),
        pytest.param(None, "pt", "pt-BR", id="a language without region takes a regional variety"),
        pytest.param(None, "zh-Hant-TW", "zh-Hant", id="a range is cut from its end"),
        pytest.param(None, "ja-x-private", "ja", id="single-letter subtags are cut together with what follows"),
        pytest.param(None, "ja;q=0, *", "en", id="a refused language is not chosen for the wildcard"),
        pytest.param(None, "en;q=0, *;q=0.5", "ja", id="wildcard takes what is not refused"),
        pytest.param(None, "*", "en", id="wildcard alone gives the default"),
        pytest.param(None, "ja;q=banana, en;q=0.1", "en", id="a malformed weight drops its part only"),
        pytest.param(None, "ja;q=1.5", "en", id="a weight above one is malformed"),
        pytest.param(None, "ja ; q = 0.8, en ; q=0.3", "ja", id="spaces around the weight"),
        pytest.param("ja en", "en", "ja", id="ui_locales comes before the browser"),
        pytest.param("fr ja-JP", "en", "ja", id="ui_locales is read in order"),
        pytest.param("fr", "ja", "ja", id="ui_locales without a match leaves it to the browser"),
        pytest.param("../../etc/passwd", "ja", "ja", id="garbage in ui_locales is skipped"),
    ],
)
def test_the_best_supported_language_is_chosen(
    ui_locales: str | None, accept_language: str | None, expected: str
) -> None:
    assert choose_locale(ui_locales, accept_language, SUPPORTED, "en") == expected


headers = st.none() | st.text() | st.from_regex(r"([a-z*]{1,3}(-[A-Z]{2})?(;q=[01](\.[0-9]{1,4})?)?[, ]*){0,6}")


@given(ui_locales=headers, accept_language=headers)
def test_any_header_gives_a_supported_language(ui_locales: str | None, accept_language: str | None) -> None:
    assert choose_locale(ui_locales, accept_language, SUPPORTED, "en") in SUPPORTED


def test_an_endless_header_is_cut() -> None:
    assert choose_locale(None, "fr," * 100_000 + "ja", SUPPORTED, "en") == "en"


def test_every_language_has_the_same_messages_with_the_same_placeholders() -> None:
    shapes = {
        locale: {key: set(PLACEHOLDER.findall(text)) for key, text in catalogue.messages.items()}
        for locale, catalogue in load_catalogues().items()
    }
    assert set(shapes) == set(LOCALES)
    assert all(shape == shapes["en"] for shape in shapes.values())


def test_no_message_is_empty_or_holds_markup() -> None:
    for catalogue in load_catalogues().values():
        for key, text in catalogue.messages.items():
            assert text.strip(), key
            assert not re.search(r"[<>&]", text), key


def test_japanese_messages_are_japanese() -> None:
    untranslated = [
        key
        for key, text in load_catalogues()["ja"].messages.items()
        if not re.search(r"[ぁ-んァ-ヶ一-龥]", text) and key not in {"direction", "playground_userinfo"}
    ]
    assert untranslated == []


def used_keys() -> set[str]:
    used: set[str] = set()
    for template in (files("tegata.web") / "templates").iterdir():
        for double, single, other in MESSAGE_USE.findall(template.read_text(encoding="utf-8")):
            used.add(double or single)
            # A looked-up key must come from one of the tables, or this test could not see it.
            assert not other or other in "esc", f"{template.name}: message key is neither a literal nor from a table"
    for table in TABLES:
        used.update(getattr(rendering, table).values())
    return used - {""}


def test_every_message_used_exists_and_every_message_is_used() -> None:
    assert used_keys() == set(load_catalogues()["en"].messages)


def test_values_are_escaped_and_are_not_format_strings() -> None:
    catalogue = Catalogue("en", {"greeting": "Hello <{name}>"})
    assert catalogue.text("greeting", name="<b>{name.__class__}") == "Hello &lt;&lt;b&gt;{name.__class__}&gt;"


def test_a_missing_value_is_an_error_not_a_hole_in_the_page() -> None:
    with pytest.raises(KeyError):
        Catalogue("en", {"greeting": "Hello {name}"}).text("greeting")
