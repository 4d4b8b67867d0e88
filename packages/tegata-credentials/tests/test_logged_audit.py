"""An audit line in the log cannot be forged by an id that somebody else has chosen."""

from __future__ import annotations

import errno
import io
import logging

import pytest

from tegata_credentials.observer import LoggedAudit, WrittenAudit

FACTS = pytest.mark.parametrize(
    ("secret", "written"),
    [
        ("shop-prod-secret-database", "secret=shop-prod-secret-database"),
        (
            "arn:aws:secretsmanager:eu-west-1:1:secret:a/b-AbC123",
            "secret=arn:aws:secretsmanager:eu-west-1:1:secret:a/b-AbC123",
        ),
        ("a version=forged", 'secret="a version=forged"'),
        ("a\nsecret.read secret=b", 'secret="a\\nsecret.read secret=b"'),
        ("", 'secret=""'),
    ],
)


@FACTS
def test_a_fact_is_one_word(caplog: pytest.LogCaptureFixture, secret: str, written: str) -> None:
    with caplog.at_level(logging.INFO, "tegata_credentials.audit"):
        LoggedAudit().audit("secret.read", secret=secret, version="v1")
    assert [record.getMessage() for record in caplog.records] == [f"secret.read {written} version=v1"]


@FACTS
def test_a_written_line_is_one_line(secret: str, written: str) -> None:
    out = io.StringIO()
    WrittenAudit(out, clock=lambda: 0).audit("secret.read", secret=secret, version="v1")
    assert out.getvalue() == f"1970-01-01T00:00:00Z secret.read {written} version=v1\n"


def test_a_closed_output_breaks_nothing() -> None:
    out = io.StringIO()
    out.close()
    WrittenAudit(out).audit("secret.read", secret="mail")
    WrittenAudit(Full()).audit("secret.read", secret="mail")


class Full(io.StringIO):
    """A disk without room."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "no space")
