"""An audit line in the log cannot be forged by an id that somebody else has chosen."""

from __future__ import annotations

import logging

import pytest

from tegata_credentials.observer import LoggedAudit


@pytest.mark.parametrize(
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
def test_a_fact_is_one_word(caplog: pytest.LogCaptureFixture, secret: str, written: str) -> None:
    with caplog.at_level(logging.INFO, "tegata_credentials.audit"):
        LoggedAudit().audit("secret.read", secret=secret, version="v1")
    assert [record.getMessage() for record in caplog.records] == [f"secret.read {written} version=v1"]
