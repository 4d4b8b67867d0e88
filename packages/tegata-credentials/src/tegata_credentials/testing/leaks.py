"""Looking for secrets in what a program said: logs, warnings, exceptions and their causes."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote

_SHORTEST = 12  # a shorter piece could be there by chance


@lru_cache(maxsize=4096)
def pieces_of(secret: str) -> tuple[str, ...]:
    """Return what gives a secret away, even partly: itself, the parts of a JWT, the signature in a presigned URL."""
    return tuple(dict.fromkeys(_pieces_of(secret)))


def _pieces_of(secret: str) -> Iterator[str]:
    if len(secret) >= _SHORTEST:
        yield secret
        yield quote(secret, safe="")
        yield repr(secret)[1:-1]
    if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", secret):
        header, payload, signature = secret.split(".")
        # A log that cuts long texts still shows their beginning.
        yield from (header[:20], payload[:40], signature[:40])
    if found := re.search(r"X-Amz-Signature=([0-9a-f]+)", secret):
        yield found[1]


def find_leaks(text: str, secrets: Iterable[str]) -> list[int]:
    """Return the positions, in the order of `secrets`, of those that `text` gives away; never the secrets."""
    return [index for index, secret in enumerate(secrets) if any(piece in text for piece in pieces_of(secret))]


def text_of(error: BaseException) -> str:
    """Return all that an exception can show: traceback with causes and contexts, `repr`, `str` and arguments."""
    seen: list[BaseException] = []
    _collect(error, seen)
    parts = ["".join(traceback.format_exception(error))]
    for each in seen:
        parts += [repr(each), str(each), *(repr(argument) for argument in each.args)]
        parts += [f"{name}={value!r}" for name, value in vars(each).items()]
    return "\n".join(parts)


def _collect(error: BaseException | None, seen: list[BaseException]) -> None:
    if error is None or any(each is error for each in seen):
        return
    seen.append(error)
    _collect(error.__cause__, seen)
    _collect(error.__context__, seen)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            _collect(each, seen)
