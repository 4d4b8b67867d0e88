"""The one boundary where exceptions become answers (CONVENTIONS: three families of errors, never mixed)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from tegata.api.http import Request, Response, json_response
from tegata.api.traces import tell_error
from tegata.protocol.errors import OAuthError, Refused, server_error, temporarily_unavailable
from tegata.storage.errors import Unavailable

_log = structlog.get_logger("tegata.api")

Answer = Callable[[], Awaitable[Response]]
Render = Callable[[Request, OAuthError | Refused], Response]

RETRY_AFTER_SECONDS = b"2"


async def guarded(request: Request, answer: Answer, render: Render) -> Response:
    """Await the answer; turn every exception into a response by `render`.

    A store that cannot be reached is 503 with Retry-After; anything unexpected is logged with its stack and the
    request id, and tells the client nothing else.
    """
    try:
        return await answer()
    except (OAuthError, Refused) as error:
        tell_error(request.scope, error.code)
        return _with_retry(render(request, error))
    except Unavailable as error:
        _log.warning("storage_unavailable", request_id=request.origin.request_id, reason=str(error))
        answered = temporarily_unavailable("storage_unavailable")
        tell_error(request.scope, answered.code)
        return _with_retry(render(request, answered))
    except Exception:  # noqa: BLE001 - the one place; everything unexpected becomes 500 here
        _log.exception("unexpected_error", request_id=request.origin.request_id, path=request.path)
        unexpected = server_error()
        tell_error(request.scope, unexpected.code)
        return render(request, unexpected)


def render_json(_request: Request, error: OAuthError | Refused) -> Response:
    """Return the error of a back-channel endpoint (RFC 6749 §5.2)."""
    response = json_response({"error": error.code, "error_description": error.description}, error.status)
    if error.code == "invalid_client":  # RFC 6749 §5.2: 401 names a scheme the client may use
        return response.with_headers((b"www-authenticate", b'Basic realm="tegata", charset="UTF-8"'))
    return response


def _with_retry(response: Response) -> Response:
    if response.status == 503:
        return response.with_headers((b"retry-after", RETRY_AFTER_SECONDS))
    return response
