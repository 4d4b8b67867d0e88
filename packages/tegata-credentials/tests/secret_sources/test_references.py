"""References: which text leads where, what is no reference, and stores of one's own beside the usual ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata_credentials.errors import SecretAccessDenied, SecretError, SecretMalformed, SecretNotFound
from tegata_credentials.sources.environment import Environment
from tegata_credentials.sources.references import BadReference, Reference, ReferencedSecrets
from tegata_credentials.testing.leaks import text_of
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, SecretVersion

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/prod/db-AbCdEf"
VALUE = "value-behind-a-reference-3c9d"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("awssm:shop-prod-secret-database", Reference("awssm", "shop-prod-secret-database")),
        ("awssm:shop/prod/db#password", Reference("awssm", "shop/prod/db", "password")),
        ("awssm:rds!db-1a2b#password", Reference("awssm", "rds!db-1a2b", "password")),
        (f"awssm:{ARN}", Reference("awssm", ARN)),
        (f"awssm:{ARN}#user name", Reference("awssm", ARN, "user name")),
        (f"awssm:{ARN.replace('aws', 'aws-cn', 1)}", Reference("awssm", ARN.replace("aws", "aws-cn", 1))),
        ("file:/run/secrets/db", Reference("file", "/run/secrets/db")),
        ("file:/a b/c#d:e", Reference("file", "/a b/c#d:e")),
        ("env:API_KEY", Reference("env", "API_KEY")),
        ("env:MAIL#password", Reference("env", "MAIL", "password")),
    ],
)
def test_a_reference_says_store_name_and_key(text, meant):
    found = Reference.parse(text)
    assert found == meant
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "env", "env:", "env:A-B", "env:1A", "env:A#", "env: A", "ENV:A", "env:A\n", "file:", "file:relative",
        "file:/a\nb", "file:/\0", "file:/" + "x" * 1001, "awssm:", "awssm:#key", "awssm:a b", "awssm:a:b", "awssm:a#",
        "awssm:arn:aws:s3:::bucket", "awssm:" + "x" * 513, "awssm:a#b\nc", "vault:x", "https://example.com",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_the_forms_that_are(text):
    with pytest.raises(BadReference, match="write"):
        Reference.parse(text)


def parsed_or_refused(text: str) -> str:
    try:
        return str(Reference.parse(text))
    except BadReference as error:
        return str(error)


@given(st.text(max_size=40))
def test_whatever_is_given_is_a_reference_that_is_written_the_same_or_refused_without_being_repeated(text):
    for given_text in (text, f"env:{text}", f"awssm:{text}", f"file:/{text}"):
        said = parsed_or_refused(given_text)
        assert said == given_text or len(text) < 12 or text not in said


def test_a_secret_in_the_place_of_a_reference_is_not_repeated():
    for text in (VALUE, f"password:{VALUE}", f"env:{VALUE}!", f"awssm:{VALUE} "):
        with pytest.raises(BadReference) as caught:
            ReferencedSecrets().resolve(text)
        assert VALUE not in text_of(caught.value)
        outcome = ReferencedSecrets().fetch_many([text])[text]
        assert isinstance(outcome, SecretNotFound)
        assert VALUE not in text_of(outcome)


class Vault:
    """A store of one's own."""

    scheme = "vault"

    def __init__(self, kept: Mapping[str, str]) -> None:
        self.kept = kept
        self.asked: list[list[str]] = []
        self.closed = 0

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        if secret not in self.kept:
            raise SecretAccessDenied(secret, "ask the keeper of the vault")
        return SecretVersion(secret, f"v-{stage}", HiddenText(self.kept[secret]), frozenset({stage}))

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        self.asked.append(list(secrets))
        found: dict[str, SecretVersion | SecretError] = {}
        for secret in secrets:
            try:
                found[secret] = self.fetch(secret)
            except SecretError as error:
                found[secret] = error
        return found

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def vault() -> Vault:
    document = {"user": "app", "password": VALUE, "port": 5432, "keys": [1], "no": None}
    return Vault({"db": json.dumps(document), "raw": "x"})


@pytest.fixture
def secrets(vault: Vault) -> ReferencedSecrets:
    return ReferencedSecrets({"vault": vault, "env": Environment({"API_KEY": VALUE, "EMPTY": ""})})


def test_a_store_of_ones_own_is_one_entry(secrets, vault):
    found = secrets.fetch("vault:db#password", stage="AWSPENDING")
    assert (found.text, found.version, found.secret) == (VALUE, "v-AWSPENDING", "vault:db#password")
    assert secrets.fetch("vault:raw").text == "x"
    assert set(secrets.schemes) == {"awssm", "file", "env", "vault"}
    with pytest.raises(BadReference, match="vault:"):
        secrets.resolve("nothing")
    secrets.close()
    assert vault.closed == 1


def test_a_key_picks_a_text_or_the_json_of_what_is_none(secrets):
    assert secrets.resolve("vault:db#port") == "5432"
    assert secrets.resolve("vault:db#keys") == "[1]"


@pytest.mark.parametrize(
    ("reference", "kind", "hint"),
    [
        ("vault:db#absent", SecretMalformed, "has no key absent"),
        ("vault:db#no", SecretMalformed, "has no key no"),
        ("vault:raw#key", SecretMalformed, "not a JSON object"),
        ("vault:other#key", SecretAccessDenied, "ask the keeper"),
        ("env:API_KEY#key", SecretMalformed, "not a JSON object"),
        ("env:ABSENT", SecretNotFound, "ABSENT is not set"),
        ("env:EMPTY", SecretMalformed, "is empty"),
        ("file:/absent/file", SecretNotFound, "no file /absent/file"),
    ],
)
def test_each_error_names_the_reference_and_never_a_value(secrets, reference, kind, hint):
    with pytest.raises(kind, match=hint) as caught:
        secrets.resolve(reference)
    assert caught.value.secret == reference
    assert VALUE not in text_of(caught.value)
    assert str(secrets.fetch_many([reference])[reference]) == str(caught.value)


def test_each_store_is_asked_once_for_what_several_references_share(secrets, vault):
    references = ["vault:db#user", "env:API_KEY", "vault:db#port", "vault:raw", "vault:other", "nonsense"]
    found = secrets.fetch_many(references)
    assert list(found) == references
    assert [len(set(asked)) for asked in vault.asked] == [3]
    assert (found["vault:db#user"].text, found["vault:db#port"].text) == ("app", "5432")
    assert found["env:API_KEY"].text == VALUE
    assert isinstance(found["vault:other"], SecretAccessDenied)
    assert isinstance(found["nonsense"], SecretNotFound)


def test_an_environment_variable_may_be_named_as_a_secret_is(clean_environment):
    clean_environment.setenv("TEST_SHOP_DEV_SECRET_JWT", "{}")
    assert Environment(prefix="TEST_").fetch("shop-dev-secret-jwt").text == "{}"
    with pytest.raises(SecretNotFound, match="TEST_shop_dev is not set"):
        Environment(prefix="TEST_").fetch("shop_dev")
    with pytest.raises(SecretNotFound, match="AWSPREVIOUS"):
        Environment(prefix="TEST_").fetch("shop-dev-secret-jwt", stage="AWSPREVIOUS")


def test_bytes_that_are_no_text_in_the_environment_are_malformed():
    with pytest.raises(SecretMalformed, match="base64"):
        Environment({"A": "caf\udce9"}).fetch("A")


def test_a_reference_to_a_file_reads_as_the_server_always_has(tmp_path):
    path = tmp_path / "s#1"
    path.write_bytes(b"line\nvalue\r\n")
    assert ReferencedSecrets().resolve(f"file:{path}") == "line\nvalue"
