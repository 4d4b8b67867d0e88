"""Keeps what botocore logs while it works for us out of every log.

At DEBUG it writes down requests with their bodies, the canonical request and the signature, and whole answers. For us
these are the login token, a secret on its way to the store, the session token of the IAM role, and secrets read. What
it says while it looks for credentials, retries or waits stays; other uses of botocore in the same program are logged
as ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TELL_TALES = ("botocore.auth", "botocore.endpoint", "botocore.parsers")
_ours = threading.local()


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not getattr(_ours, "now", False)


@contextmanager
def unlogged() -> Iterator[None]:
    """Drop the records of this thread meanwhile.

    The filter stays in place afterwards: removing it could make another thread, which runs through the same list,
    pass over it.
    """
    for name in _TELL_TALES:
        logging.getLogger(name).addFilter(_is_not_ours)
    before = getattr(_ours, "now", False)
    _ours.now = True
    try:
        yield
    finally:
        _ours.now = before
