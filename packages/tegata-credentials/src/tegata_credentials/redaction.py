"""Takes the credential out of what a driver attaches to an error: the local variables of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


def without_frames(error: Error) -> Error:
    """Return `error` without tracebacks, also without those of its causes, to be raised from the caller's frame.

    A driver's frames hold the password in local variables, and error reports show these. Call it in a handler and
    raise what it returns: the traceback then begins where it is raised. The errors themselves, their texts and their
    chain stay.
    """
    for link in _chain(error):
        link.__traceback__ = None
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, link.__context__]
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions
