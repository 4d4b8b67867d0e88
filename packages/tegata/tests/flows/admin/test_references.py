"""References: where secrets are read from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tegata.flows.admin.references import PATTERN, StoredReferences, Unresolvable, read_jwks, standard_references
from tegata_credentials.errors import SecretAccessDenied, SecretError, SecretThrottled, SecretUnavailable
from tegata_credentials.secret_service import SecretsInMemory
from tegata_credentials.sources.references import BadReference, Reference, ReferencedSecrets
from tegata_credentials.versions import SecretVersion

REFERENCES = standard_references({"NAME": "value", "EMPTY": "", "CONTROL": "a\x01b", "PAIR": '{"one": "first"}'})


class Refusing(SecretsInMemory):
    """A store that says the same of every secret."""

    def __init__(self, error: SecretError) -> None:
        super().__init__()
        self._error = error

    def fetch_many(self, secrets: Sequence[str]) -> dict[str, SecretVersion | SecretError]:
        return dict.fromkeys(secrets, self._error)


def refusal(reference: str) -> str:
    with pytest.raises(Unresolvable) as caught:
        REFERENCES.resolve(reference)
    return str(caught.value)


def test_a_variable_is_read() -> None:
    assert REFERENCES.resolve("env:NAME") == "value"
    assert REFERENCES.resolve("env:PAIR#one") == "first"


def test_a_file_is_read_without_its_last_line_break(tmp_path: Path) -> None:
    for number, (written, read) in enumerate(
        (("one\n", "one"), ("two\r\n", "two"), (" three \n\n", " three \n"), ("four", "four"))
    ):
        path = tmp_path / f"secret-{number}"
        path.write_bytes(written.encode())
        assert REFERENCES.resolve(f"file:{path}") == read


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:ABSENT", "ABSENT is not set"),
        ("env:EMPTY", "empty"),
        ("env:CONTROL", "not text"),
        ("env:PAIR#two", "no key two"),
        ("env:", "not complete"),
        ("value", "not a reference"),
        ("vault:name", "not a reference"),
        ("file:relative", "file:/absolute/path"),
        ("file:/does/not/exist", "there is no file"),
        ("file:/tmp", "no regular file"),
    ],
)
def test_what_leads_nowhere_is_told(reference: str, words: str) -> None:
    assert words in refusal(reference)


@pytest.mark.parametrize("pasted", ["hunter2-hunter2", "postgres://app:hunter2@db", "env:hunter2!", "file:hunter2"])
def test_a_secret_in_the_place_of_a_reference_is_not_repeated(pasted: str) -> None:
    assert "hunter2" not in refusal(pasted)


def test_files_that_are_too_large_or_no_text_are_refused(tmp_path: Path) -> None:
    for name, content, words in (("large", b"a" * 65_537, "larger"), ("raw", b"\xff\xfe", "UTF-8")):
        (tmp_path / name).write_bytes(content)
        assert words in refusal(f"file:{tmp_path / name}")


def test_secrets_of_aws_are_read_together_whole_or_by_a_key() -> None:
    store = SecretsInMemory({"shop": {"client": "one", "password": "two"}, "keys": {"keys": []}})
    references = StoredReferences(ReferencedSecrets({"awssm": store}))
    references.read(["awssm:shop#client", "awssm:shop#password", "awssm:keys"])
    assert references.resolve("awssm:shop#client") == "one"
    assert references.resolve("awssm:shop#password") == "two"
    assert read_jwks(references, "awssm:keys") == {"keys": []}
    assert store.fetches == 1


def test_a_store_that_refuses_is_a_fault_of_the_document_and_one_that_is_away_is_not() -> None:
    for error, told in (
        (SecretAccessDenied("shop", "not allowed"), Unresolvable),
        (SecretThrottled("shop", "slowly"), SecretThrottled),
        (SecretUnavailable("shop", "away"), SecretUnavailable),
    ):
        with pytest.raises(told, match="awssm:shop"):
            StoredReferences(ReferencedSecrets({"awssm": Refusing(error)})).resolve("awssm:shop")


@pytest.mark.parametrize(
    "text",
    [
        "env:NAME",
        "env:NAME#key",
        "env:1",
        "env:",
        "file:/a b",
        "file:a",
        "awssm:shop/prod#key",
        "awssm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf",
        "awssm:arn:aws:secretsmanager:eu-west-1:1:secret:shop",
        "awssm:a b",
        "awssm:",
        "vault:x",
        "plain",
    ],
)
def test_the_published_pattern_allows_what_is_understood(text: str) -> None:
    try:
        Reference.parse(text)
    except BadReference:
        understood = False
    else:
        understood = True
    assert (re.fullmatch(PATTERN, text) is not None) == understood
