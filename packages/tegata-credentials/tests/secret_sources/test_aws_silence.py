"""No value, no session token and no answer of AWS in any log, exception or representation; forked processes."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import traceback
from typing import Any

import pytest

from tegata_credentials.errors import SecretError
from tegata_credentials.signing_logs import unlogged
from tegata_credentials.testing.leaks import text_of

from ..forking import in_child  # noqa: TID252 - tests are no installed package

VALUE = "value-that-nobody-may-see-91c2f7"
SESSION_TOKEN = "session-token-of-the-role-0123456789"


def everything(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records)


@pytest.fixture
def at_debug(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every logger there is writes down everything."""
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("boto", "urllib3", "http", "s3transfer")):
            caplog.set_level(logging.DEBUG, name)
    return caplog


def test_nothing_of_a_read_is_in_a_log_at_debug(endpoint, at_debug, refused):
    endpoint.put("s", VALUE)
    endpoint.put("t", VALUE)
    source = endpoint.source()
    endpoint.faults = [refused("InternalServiceError", VALUE, 500)]
    source.fetch("s")
    source.fetch_many(["s", "t"])
    endpoint.constant = refused("AccessDeniedException", VALUE)
    for call in (lambda: source.fetch("s"), lambda: source.fetch_many(["s", "t"])["s"].again()):
        with pytest.raises(SecretError) as caught:
            raise call()
        assert VALUE not in text_of(caught.value)
    said = everything(at_debug)
    assert VALUE not in said
    assert SESSION_TOKEN not in said
    # What helps to find a fault is still there.
    assert "Retry needed" in said


def test_the_same_call_by_somebody_else_is_logged_as_ever(endpoint, at_debug):
    endpoint.put("s", VALUE)
    endpoint.source()._client().get_secret_value(SecretId="s")
    said = everything(at_debug)
    assert VALUE in said
    assert SESSION_TOKEN in said


def test_a_write_through_the_same_guard_is_silent_too(endpoint, at_debug):
    endpoint.put("s", VALUE)
    client = endpoint.source()._client()
    with unlogged():
        with unlogged():  # a call inside a call
            pass
        client.put_secret_value(SecretId="s", SecretString=VALUE)
    assert len(endpoint.asked("PutSecretValue")) == 1
    assert VALUE not in everything(at_debug)


def test_an_answer_that_cannot_be_read_shows_nothing(endpoint, at_debug):
    endpoint.put("s", VALUE, VersionStages=7)
    endpoint.answer = lambda *_: {"SecretString": [VALUE]}
    with pytest.raises(SecretError) as caught:
        endpoint.source().fetch("s")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert VALUE not in "".join(shown.format()) + text_of(caught.value) + everything(at_debug)


def test_what_is_read_shows_and_pickles_nothing(endpoint):
    endpoint.put("s", VALUE)
    source = endpoint.source()
    found = source.fetch("s")
    assert VALUE not in repr(found) + repr(source) + repr(source.fetch_many(["s"]))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(found)
    assert (found.secret, found.version, found.stages) == ("s", "v-1", frozenset({"AWSCURRENT"}))
    assert found.arn == endpoint.secrets["s"]["ARN"]


def test_the_frames_of_an_error_hold_no_answer(endpoint, refused):
    endpoint.constant = refused("AccessDeniedException", VALUE)
    with pytest.raises(SecretError) as caught:
        endpoint.source().fetch("s")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert VALUE not in shown
    assert "botocore" not in shown


def test_a_label_is_asked_for_by_its_name(endpoint):
    endpoint.put("s", VALUE, VersionStages=["AWSPENDING"])
    assert endpoint.source().fetch("s", stage="AWSPENDING").stages == frozenset({"AWSPENDING"})
    with pytest.raises(SecretError, match="no version with this label"):
        endpoint.source().fetch("s")


def test_without_boto3_everything_else_works_and_the_words_that_install_it_are_said():
    code = """
import os, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("boto3", "botocore"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import tegata_credentials.cli
from tegata_credentials.errors import SecretError
from tegata_credentials.sources.references import ReferencedSecrets
secrets = ReferencedSecrets()
print(secrets.resolve("env:API_KEY"))
try:
    secrets.fetch("awssm:s")
except SecretError as error:
    print(error)
"""
    environ = {**os.environ, "API_KEY": "k"}
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
    assert said == "k\nsecret awssm:s: unavailable (boto3 is not installed: install `tegata-credentials[aws]`)\n"


def test_threads_make_one_client_and_a_forked_process_makes_its_own(endpoint):
    endpoint.put("s", VALUE)
    source = endpoint.source()
    clients: list[Any] = []
    threads = [threading.Thread(target=lambda: clients.append(source._client())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in clients}) == 1
    source.fetch("s")

    def in_the_child() -> str:
        same = source._client() is clients[0]
        said = f"{source.fetch('s').text == VALUE} {same}"
        source.close()
        return said

    assert in_child(in_the_child) == "True False"
    assert source._client() is clients[0]
    assert source.fetch("s").text == VALUE
    source.close()
    source.close()
    assert source.fetch("s").text == VALUE
    source.close()


def test_a_client_of_ones_own_is_used_and_not_closed(endpoint):
    from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager

    endpoint.put("s", VALUE)
    client = endpoint.source()._client()
    source = AwsSecretsManager(client)
    assert source.fetch("s").text == VALUE
    source.close()
    assert AwsSecretsManager(client).fetch("s").text == VALUE
