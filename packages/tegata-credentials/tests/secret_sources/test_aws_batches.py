"""Many secrets at once: few calls, each id with an outcome of its own, and single calls where there is no batch."""

from __future__ import annotations

import pytest

from tegata_credentials.errors import (
    SecretAccessDenied,
    SecretMalformed,
    SecretNotFound,
    SecretUnavailable,
)
from tegata_credentials.sources.aws_secrets_manager import BATCH_PAUSE_SECONDS

BATCH, SINGLE = "BatchGetSecretValue", "GetSecretValue"


def put_many(endpoint, count):
    names = [f"secret-{number}" for number in range(count)]
    for name in names:
        endpoint.put(name, f"value of {name}", version=f"v-{name}")
    return names


@pytest.mark.parametrize(("count", "sizes"), [(20, [20]), (45, [20, 20, 5]), (21, [20])])
def test_twenty_are_one_call_and_the_order_is_kept(endpoint, count, sizes):
    names = put_many(endpoint, count)[::-1]
    found = endpoint.source().fetch_many(names)
    assert list(found) == names
    assert [found[name].text for name in names] == [f"value of {name}" for name in names]
    assert [found[name].version for name in names] == [f"v-{name}" for name in names]
    assert [len(body["SecretIdList"]) for body in endpoint.asked(BATCH)] == sizes
    # A single one left over is asked for by itself, which needs no right of its own.
    assert len(endpoint.asked(SINGLE)) == (1 if count % 20 == 1 else 0)


def test_a_name_that_is_given_twice_is_asked_for_once(endpoint):
    names = put_many(endpoint, 3)
    found = endpoint.source().fetch_many([names[2], names[0], names[2], names[0]])
    assert list(found) == [names[2], names[0]]
    assert endpoint.asked(BATCH) == [{"SecretIdList": [names[2], names[0]]}]


def test_none_is_no_call(endpoint):
    assert endpoint.source().fetch_many([]) == {}
    assert endpoint.calls == []


def test_an_error_of_one_is_not_an_error_of_the_others(endpoint):
    put_many(endpoint, 1)
    endpoint.errors_of = {"forbidden": ("AccessDeniedException", "no"), "locked": ("DecryptionFailure", "no")}
    endpoint.errors_of["broken"] = ("InternalServiceError", "no")
    endpoint.put("bytes", None, SecretBinary="/////w==")
    found = endpoint.source().fetch_many(["forbidden", "secret-0", "absent", "locked", "broken", "bytes"])
    assert found["secret-0"].text == "value of secret-0"
    kinds = {name: type(found[name]) for name in ("forbidden", "absent", "locked", "broken", "bytes")}
    assert kinds == {
        "forbidden": SecretAccessDenied,
        "absent": SecretNotFound,
        "locked": SecretAccessDenied,
        "broken": SecretUnavailable,
        "bytes": SecretMalformed,
    }
    assert "kms:Decrypt" in found["locked"].hint
    assert all(found[name].secret == name for name in found)
    # What the store itself has failed at is tried once more, with the retries of a single call.
    assert [(action, body.get("SecretId")) for action, body in endpoint.calls] == [(BATCH, None), (SINGLE, "broken")]


def test_one_that_the_store_has_failed_at_for_a_moment_is_read_all_the_same(endpoint):
    names = put_many(endpoint, 2)
    endpoint.passing_errors_of[names[1]] = ("InternalServiceError", "no")
    found = endpoint.source().fetch_many(names)
    assert [found[name].text for name in names] == [f"value of {name}" for name in names]


def test_arns_whole_and_without_their_ending_are_found_in_the_answer(endpoint):
    put_many(endpoint, 2)
    whole, partial = endpoint.secrets["secret-0"]["ARN"], endpoint.secrets["secret-1"]["ARN"][:-7]
    found = endpoint.source().fetch_many([whole, partial])
    assert (found[whole].text, found[partial].text) == ("value of secret-0", "value of secret-1")
    assert [action for action, _ in endpoint.calls] == [BATCH]


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnknownOperationException"])
def test_where_a_batch_is_refused_each_is_asked_for_by_itself_and_the_batch_not_again_for_a_while(
    endpoint, refused, code
):
    names = put_many(endpoint, 3)
    endpoint.constant_of[BATCH] = refused(code)
    now = [1000.0]
    source = endpoint.source(ticks=lambda: now[0])
    for _ in range(2):
        found = source.fetch_many(names)
        assert [found[name].text for name in names] == [f"value of {name}" for name in names]
    assert (len(endpoint.asked(BATCH)), len(endpoint.asked(SINGLE))) == (1, 6)
    now[0] += BATCH_PAUSE_SECONDS
    endpoint.constant_of.clear()
    source.fetch_many(names)
    assert (len(endpoint.asked(BATCH)), len(endpoint.asked(SINGLE))) == (2, 6)


def test_a_bad_name_does_not_spoil_the_others(endpoint, refused):
    names = put_many(endpoint, 2)
    endpoint.constant_of[BATCH] = refused("InvalidParameterException")
    found = endpoint.source().fetch_many([*names, ""])
    assert [found[name].text for name in names] == [f"value of {name}" for name in names]
    assert isinstance(found[""], SecretNotFound)
