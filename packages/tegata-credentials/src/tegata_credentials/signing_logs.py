"""Keeps what botocore logs while it signs for us out of every log.

At DEBUG it writes down the canonical request and the signature, which together are the token, and what AWS STS has
answered. Signing is local and quick, and says nothing else worth having; other uses of botocore in the same program
are logged as ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TELL_TALES = ("botocore.auth", "botocore.endpoint", "botocore.parsers")
_signing = threading.local()


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not getattr(_signing, "now", False)


@contextmanager
def unlogged() -> Iterator[None]:
    """Drop the records of this thread meanwhile.

    The filter stays in place afterwards: removing it could make another thread, which runs through the same list,
    pass over it.
    """
    for name in _TELL_TALES:
        logging.getLogger(name).addFilter(_is_not_ours)
    _signing.now = True
    try:
        yield
    finally:
        _signing.now = False
