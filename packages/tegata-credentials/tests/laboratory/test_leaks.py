"""The search for secrets finds them whole, quoted and cut, and says nothing about innocent text."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tegata_credentials.testing import TokenIssuer, find_leaks, text_of

TOKEN = TokenIssuer().issue("somebody").value
SIGNED = "db.example:5432/?Action=connect&DBUser=app&X-Amz-Signature=" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"password={TOKEN}", id="whole"),
        pytest.param(f"cut after {TOKEN[:60]}...", id="only its beginning"),
        pytest.param(TOKEN.split(".")[1], id="only its claims"),
        pytest.param(TOKEN.split(".")[2], id="only its signature"),
        pytest.param(quote(SIGNED, safe=""), id="quoted for a URL"),
        pytest.param(SIGNED.rsplit("=", maxsplit=1)[-1], id="the signature of a presigned URL"),
    ],
)
def test_a_secret_is_found(text: str) -> None:
    assert find_leaks(text, ["another secret of some length", TOKEN, SIGNED]) in ([1], [2])


def test_innocent_text_is_left_alone() -> None:
    assert find_leaks("LDAP authentication failed for user app, token 12 expired", [TOKEN, SIGNED]) == []


def test_an_exception_shows_its_causes_arguments_and_attributes() -> None:
    class Told(Exception):
        pass

    hidden = Told("outer")
    hidden.detail = "kept-in-an-attribute"  # type: ignore[attr-defined]
    hidden.__cause__ = ExceptionGroup("group", [ValueError("in-a-group")])
    hidden.__context__ = KeyError("in-the-context")
    text = text_of(hidden)
    for part in ("kept-in-an-attribute", "in-a-group", "in-the-context", "outer"):
        assert part in text
