"""What botocore says while it signs for the kit is dropped; what it says to others is not."""

from __future__ import annotations

import logging
import threading

import pytest

from tegata_credentials.signing_logs import unlogged


def test_only_the_signing_thread_is_unheard_and_only_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = logging.getLogger("botocore.auth")

    def say_elsewhere() -> None:
        log.debug("elsewhere")

    log.debug("before")
    with unlogged():
        log.debug("signature")
        other = threading.Thread(target=say_elsewhere)
        other.start()
        other.join()
    log.debug("after")
    assert caplog.messages == ["before", "elsewhere", "after"]


def test_it_ends_with_an_error_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(LookupError), unlogged():
        raise LookupError
    logging.getLogger("botocore.auth").debug("heard again")
    assert caplog.messages == ["heard again"]


def test_signing_many_times_leaves_one_filter() -> None:
    for _ in range(5):
        with unlogged():
            pass
    assert len(logging.getLogger("botocore.auth").filters) == 1
