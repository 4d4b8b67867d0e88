"""Says in short words why Azure's SDK has no token, without the SDK's texts: these repeat what was answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from tegata_credentials.errors import IdentityUnavailable

_NO_TOKEN = "the identity endpoint answered with something that is no token"
_NO_IDENTITY = "no identity is assigned to this machine, or not the one that was named; a developer runs `az login`"
# What the metadata service says while it is being updated or is too busy (Azure documentation, "Retry guidance").
_PASSING = (404, 410, 429)

# What azure-core would obey, however long, in the middle of a login; the source has a pause of its own.
_PATIENCE = ("retry-after", "retry-after-ms", "x-ms-retry-after-ms")

_here = threading.local()


class Answers:
    """What the identity endpoint has answered in this thread since `listen`."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.is_spoiled = False

    def listen(self) -> None:
        """Take what `hear` hears in this thread from now on."""
        _here.answers = self

    @staticmethod
    def hear(response: Any) -> None:
        """Note the status, and stop an answer that is no JSON or half a token. (azure-core: `raw_response_hook`)

        A wish to come back in an hour is taken out: the SDK would sleep for so long, one thread for each attempt.
        The SDK would put the whole text of such an answer into its exception and into its log.
        """
        from azure.core.exceptions import ClientAuthenticationError

        answers: Answers = getattr(_here, "answers", None) or Answers()
        answers.status = response.http_response.status_code
        for name in _PATIENCE:
            response.http_response.headers.pop(name, None)
        if answers.status == 200 and not _is_sound(response.http_response.text()):
            answers.is_spoiled = True
            raise ClientAuthenticationError(_NO_TOKEN)


def explain(error: BaseException | None, answers: Answers) -> IdentityUnavailable:
    """Translate an error of the SDK; None is one of Python's own."""
    from azure.core.exceptions import (
        ServiceRequestError,
        ServiceRequestTimeoutError,
        ServiceResponseError,
        ServiceResponseTimeoutError,
    )

    causes = tuple(_causes(error))
    status = answers.status
    if answers.is_spoiled:
        return IdentityUnavailable("bad_answer", _NO_TOKEN)
    if any(isinstance(cause, ServiceRequestTimeoutError | ServiceResponseTimeoutError) for cause in causes):
        return IdentityUnavailable("timeout", "the identity endpoint is too slow")
    if any(isinstance(cause, ServiceRequestError | ServiceResponseError) for cause in causes):
        return IdentityUnavailable("unreachable", "the identity endpoint cannot be reached")
    if status is not None and (status in _PASSING or status >= 500):
        return IdentityUnavailable("failing", f"the identity endpoint answered {status}", status=status)
    if status is not None and status >= 400:
        return IdentityUnavailable("refused", f"the identity endpoint answered {status}: {_NO_IDENTITY}", status=status)
    if status is not None:
        return IdentityUnavailable("bad_answer", _NO_TOKEN)
    return IdentityUnavailable("not_configured", _NO_IDENTITY)


def _is_sound(text: str) -> bool:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(answer, dict):
        return False
    if "access_token" not in answer:
        return True  # an answer about something else, such as where tokens are to be had
    token, ends = answer["access_token"], answer.get("expires_in", answer.get("expires_on"))
    return isinstance(token, str) and bool(token) and str(ends).isdecimal()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
