"""How often Secrets Manager is called when it does not answer as wished, and what is said then: at a real endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tegata_credentials.errors import (
    SecretAccessDenied,
    SecretError,
    SecretMalformed,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.sources.one_by_one import attempt

MANY = "many at once, throttled for ever"
VALUE = "the-value-of-the-secret-7d1f"


@pytest.fixture(scope="module")
def outcomes(open_endpoint: Any, refused: Any, silent: Any, until: Any) -> Iterator[dict[str, tuple[Any, int]]]:
    """What came of each case, and how many calls it took. The SDK really waits between calls, so all run at once."""
    throttled, failing = refused("ThrottlingException"), refused("InternalServiceError", status=500)
    cases = {
        "throttled for ever": ([], throttled),
        "throttled three times": ([throttled] * 3, None),
        "throttled by HTTP 429": ([], refused("TooManyRequestsException", status=429)),
        "failing for ever": ([], failing),
        "failing three times": ([failing] * 3, None),
        "denied": ([], refused("AccessDeniedException", "User is not authorized")),
        "silent": ([], silent()),
        "nobody there": ([], None),
    }
    with ExitStack() as stack, ThreadPoolExecutor(len(cases) + 1) as threads:

        def run(case: str) -> tuple[Any, int]:
            if case == MANY:
                return run_many()
            endpoint = stack.enter_context(open_endpoint())
            endpoint.put("s", VALUE)
            endpoint.faults, endpoint.constant = cases[case]
            if case == "nobody there":
                endpoint.url = "http://127.0.0.1:1"
            source = endpoint.source(read_timeout=0.2 if case == "silent" else 60.0)
            outcome = attempt(source.fetch, "s")
            source.close()
            if case == "silent":  # the client has stopped to wait, perhaps before its call has arrived
                until(lambda: len(endpoint.calls) == 4)
            return outcome, len(endpoint.calls)

        def run_many() -> tuple[Any, int]:
            endpoint = stack.enter_context(open_endpoint())
            endpoint.constant = throttled
            source = endpoint.source()
            found = source.fetch_many(list("abcde"))
            source.close()
            return found, len(endpoint.calls)

        cases[MANY] = ([], None)
        yield dict(zip(cases, threads.map(run, cases), strict=True))


def test_throttled_for_ever_is_four_calls(outcomes):
    outcome, calls = outcomes["throttled for ever"]
    assert (type(outcome), calls) == (SecretThrottled, 4)
    assert "retries" in str(outcome)
    outcome, calls = outcomes["throttled by HTTP 429"]
    assert (type(outcome), calls) == (SecretThrottled, 4)


def test_a_store_that_is_throttled_is_not_asked_one_by_one(outcomes):
    found, calls = outcomes[MANY]
    assert calls == 4
    assert {name: (type(error), error.secret) for name, error in found.items()} == {
        name: (SecretThrottled, name) for name in "abcde"
    }


def test_throttled_three_times_and_then_served_is_the_value(outcomes):
    outcome, calls = outcomes["throttled three times"]
    assert (outcome.text, calls) == (VALUE, 4)


def test_errors_of_the_server_are_retried_as_often_and_no_more(outcomes):
    outcome, calls = outcomes["failing for ever"]
    assert (type(outcome), calls) == (SecretUnavailable, 4)
    outcome, calls = outcomes["failing three times"]
    assert (outcome.text, calls) == (VALUE, 4)


def test_a_refusal_is_one_call(outcomes):
    outcome, calls = outcomes["denied"]
    assert (type(outcome), calls) == (SecretAccessDenied, 1)
    assert "secretsmanager:GetSecretValue" in str(outcome)


def test_no_answer_ends_within_its_limits(outcomes):
    outcome, calls = outcomes["silent"]
    assert (type(outcome), calls) == (SecretUnavailable, 4)
    assert "no answer in time" in str(outcome)


def test_an_address_where_nobody_listens_is_unavailable(outcomes):
    outcome, _ = outcomes["nobody there"]
    assert type(outcome) is SecretUnavailable
    assert "cannot be reached" in str(outcome)


def test_the_limits_are_those_of_the_arguments(endpoint):
    config = endpoint.source()._client().meta.config
    assert (config.connect_timeout, config.read_timeout) == (2.0, 5.0)
    assert config.retries["total_max_attempts"] == 4
    assert config.retries["mode"] == "standard"
    short = endpoint.source(connect_timeout=0.5, read_timeout=0.7)._client().meta.config
    assert (short.connect_timeout, short.read_timeout) == (0.5, 0.7)


CODES: list[tuple[str, str, type[SecretError], str]] = [
    ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.", SecretNotFound, "of this name"),
    ("ResourceNotFoundException", "can't find the value for staging label: X", SecretNotFound, "this label"),
    ("InvalidRequestException", "currently marked deleted / for deletion", SecretNotFound, "restore-secret"),
    ("InvalidParameterException", "Invalid name", SecretNotFound, "no such names"),
    ("ValidationException", "Invalid name", SecretNotFound, "no such names"),
    ("AccessDeniedException", "Access to KMS is not allowed", SecretAccessDenied, "kms:Decrypt"),
    ("DecryptionFailure", "", SecretAccessDenied, "kms:Decrypt"),
    ("UnrecognizedClientException", "", SecretAccessDenied, "unknown to AWS"),
    ("ExpiredTokenException", "", SecretAccessDenied, "have ended"),
    ("InvalidSignatureException", "Signature expired", SecretAccessDenied, "clock"),
    ("SomethingNewException", VALUE, SecretUnavailable, "SomethingNewException"),
    (f"<html>{VALUE}", "", SecretUnavailable, "without a code"),
]


@pytest.mark.parametrize(("code", "message", "kind", "hint"), CODES, ids=[f"{c[0][:12]}-{c[3][:12]}" for c in CODES])
def test_each_answer_has_its_error_with_the_cure_in_one_call(endpoint, refused, code, message, kind, hint):
    endpoint.constant = refused(code, message)
    with pytest.raises(SecretError) as caught:
        endpoint.source().fetch("s")
    assert type(caught.value) is kind
    assert hint in str(caught.value)
    assert (caught.value.secret, len(endpoint.calls)) == ("s", 1)
    assert VALUE not in str(caught.value)


def test_an_arn_of_another_region_is_told_from_a_secret_that_is_missing(endpoint):
    with pytest.raises(SecretNotFound, match="its ARN is of the region us-east-1, and eu-west-1 was asked"):
        endpoint.source().fetch("arn:aws:secretsmanager:us-east-1:123456789012:secret:s-AbCdEf")


def test_without_credentials_nothing_is_asked(endpoint):
    with pytest.raises(SecretUnavailable, match="no IAM credentials found"):
        AwsSecretsManager(endpoint_url=endpoint.url, region="eu-west-1").fetch("s")
    assert endpoint.calls == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [({}, "set AWS_REGION"), ({"region": "eu-west-1", "endpoint_url": "no-address"}, "ValueError")],
    ids=["no region", "no endpoint"],
)
def test_a_set_up_that_cannot_work_is_told(arguments, hint):
    with pytest.raises(SecretUnavailable, match=hint):
        AwsSecretsManager(**arguments).fetch("s")


def test_a_name_that_aws_cannot_have_is_not_found(endpoint):
    with pytest.raises(SecretNotFound):
        endpoint.source().fetch("")
    assert endpoint.calls == []


def test_bytes_are_the_text_they_spell_or_malformed(endpoint):
    endpoint.put("text", None, SecretBinary="eyJhIjogMX0=")
    endpoint.put("bytes", None, SecretBinary="/////w==")
    endpoint.put("nothing", None)
    endpoint.put("empty", "")
    source = endpoint.source()
    assert source.fetch("text").document() == {"a": 1}
    for name, hint in (("bytes", "base64"), ("nothing", "put-secret-value"), ("empty", "is empty")):
        with pytest.raises(SecretMalformed, match=hint):
            source.fetch(name)


def test_credentials_that_were_refused_are_looked_for_again(endpoint, refused, clean_environment: Any):
    endpoint.put("s", VALUE)
    endpoint.faults = [refused("ExpiredTokenException")]
    clean_environment.setenv("AWS_ACCESS_KEY_ID", "AKIAFIRST")
    clean_environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
    source = AwsSecretsManager(endpoint_url=endpoint.url, region="eu-west-1")
    with pytest.raises(SecretAccessDenied):
        source.fetch("s")
    clean_environment.setenv("AWS_ACCESS_KEY_ID", "AKIASECOND")
    assert source.fetch("s").text == VALUE
    assert source._client()._request_signer._credentials.access_key == "AKIASECOND"
    source.close()


def test_the_errors_own_kind_survives_being_handed_on(endpoint, refused):
    endpoint.constant = refused("AccessDeniedException")
    outcome = attempt(endpoint.source().fetch, "s")
    assert isinstance(outcome, SecretAccessDenied)
    assert (outcome.__traceback__, outcome.__context__, outcome.http_status) == (None, None, 500)
