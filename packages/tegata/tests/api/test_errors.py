"""Where exceptions become answers: three families, and a fault of ours tells nothing (CONVENTIONS, Errors)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tegata.api.errors import guarded, render_json
from tegata.api.http import Request, Response
from tegata.protocol.errors import OAuthError, Refused, invalid_client, invalid_grant, temporarily_unavailable
from tegata.storage.errors import Conflict, Unavailable
from tegata.telemetry.audit import Origin

pytestmark = pytest.mark.anyio


async def never() -> dict[str, Any]:
    raise AssertionError


REQUEST = Request(
    {"method": "POST", "path": "/t/token", "headers": [], "query_string": b""}, never, Origin(None, "r-1")
)


async def answered(error: BaseException | None) -> tuple[Response, list[Any]]:
    async def answer() -> Response:
        if error is not None:
            raise error
        return Response(200, b"fine")

    with capture_logs() as told:
        response = await guarded(REQUEST, answer, render_json)
    return response, list(told)


async def test_an_answer_is_an_answer() -> None:
    response, told = await answered(None)
    assert (response.status, response.body, told) == (200, b"fine", [])


@pytest.mark.parametrize(
    "error",
    [
        invalid_grant("told", "kept"),
        Refused("not_found", "told", "kept", status=404),
        OAuthError("x", "told", "kept", 413),
    ],
)
async def test_a_refusal_is_told_in_its_own_words_without_its_reason(error: OAuthError | Refused) -> None:
    response, told = await answered(error)
    assert response.status == error.status
    assert json.loads(response.body) == {"error": error.code, "error_description": "told"}
    assert told == []


async def test_a_client_that_failed_to_authenticate_is_told_a_scheme() -> None:
    """RFC 6749 §5.2."""
    response, _ = await answered(invalid_client("told", "kept"))
    assert response.status == 401
    assert dict(response.headers)[b"www-authenticate"].startswith(b"Basic realm=")
    other, _ = await answered(invalid_grant("told", "kept"))
    assert b"www-authenticate" not in dict(other.headers)


@pytest.mark.parametrize("error", [Unavailable("host db.internal: no route"), temporarily_unavailable("queue_full")])
async def test_a_store_that_is_away_is_503_with_a_time_to_try_again(error: Exception) -> None:
    response, told = await answered(error)
    assert response.status == 503
    assert int(dict(response.headers)[b"retry-after"]) > 0
    assert json.loads(response.body)["error"] == "temporarily_unavailable"
    assert b"db.internal" not in response.body
    if isinstance(error, Unavailable):
        assert [(entry["event"], entry["request_id"]) for entry in told] == [("storage_unavailable", "r-1")]


@pytest.mark.parametrize(
    "error", [ValueError("internal detail"), KeyError("internal detail"), Conflict("internal detail"), AssertionError()]
)
async def test_anything_unexpected_is_500_without_detail_and_logged_with_its_stack(error: Exception) -> None:
    response, told = await answered(error)
    assert response.status == 500
    assert json.loads(response.body)["error"] == "server_error"
    assert b"internal detail" not in response.body
    assert b"Traceback" not in response.body
    [entry] = told
    assert (entry["event"], entry["log_level"], entry["request_id"]) == ("unexpected_error", "error", "r-1")
    assert entry["exc_info"]
    assert entry["path"] == "/t/token"


async def test_a_cancelled_request_is_not_answered() -> None:
    with pytest.raises(asyncio.CancelledError):
        await answered(asyncio.CancelledError())
