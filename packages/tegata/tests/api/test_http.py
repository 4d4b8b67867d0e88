"""Requests and responses: limits before anything is parsed; nothing a client sends is a fault (pitfalls P41, P123)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.api import http
from tegata.api.http import MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_QUERY_BYTES, Request, Response, check_size
from tegata.protocol.errors import OAuthError
from tegata.protocol.parameters import Parameters
from tegata.telemetry.audit import Origin

FORM = (b"content-type", b"application/x-www-form-urlencoded")
Message = dict[str, Any]


def scope(*headers: tuple[bytes, bytes], query: bytes = b"", path: bytes = b"/t/token") -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": list(headers),
    }


async def nothing() -> Message:
    """A client that sends its headers and then nothing."""
    await asyncio.Event().wait()
    raise AssertionError


def sending(*messages: Message) -> Callable[[], Awaitable[Message]]:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0) if left else await nothing()

    return receive


def chunks(*parts: bytes) -> list[Message]:
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]


def request(
    *headers: tuple[bytes, bytes], messages: Sequence[Message] = (), receive: Any = None, query: bytes = b""
) -> Request:
    return Request(scope(*headers, query=query), receive or sending(*messages), Origin(None, "r"))


async def refusal(awaitable: Awaitable[object]) -> tuple[int, str]:
    with pytest.raises(OAuthError) as refused:
        await awaitable
    assert refused.value.code == "invalid_request"
    return refused.value.status, refused.value.reason


@pytest.mark.anyio
@pytest.mark.parametrize("parts", [[b"a=1&b=2"], [b"a=1", b"&b", b"=2"], [b"a=1&b=2", b""], [b"", b"a=1&b=2"]])
async def test_a_form_is_read_in_whatever_pieces_it_comes(parts: list[bytes]) -> None:
    assert dict(await request(FORM, messages=chunks(*parts)).form()) == {"a": "1", "b": "2"}


@pytest.mark.anyio
async def test_a_message_without_a_body_is_an_empty_form() -> None:
    assert dict(await request(FORM, messages=[{"type": "http.request"}]).form()) == {}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "content_type",
    [
        b"application/x-www-form-urlencoded; charset=utf-8",
        b"Application/X-WWW-Form-Urlencoded",
        b" application/x-www-form-urlencoded ;charset=UTF-8",
    ],
)
async def test_the_content_type_may_have_parameters(content_type: bytes) -> None:
    assert dict(await request((b"content-type", content_type), messages=chunks(b"a=1")).form()) == {"a": "1"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([(b"content-type", b"")], id="empty"),
        pytest.param([(b"content-type", b"application/json")], id="JSON"),
        pytest.param([(b"content-type", b"multipart/form-data; boundary=x")], id="multipart"),
        pytest.param([(b"content-type", b"text/plain")], id="text"),
        pytest.param([(b"content-type", b"application/x-www-form-urlencoded-2")], id="one that begins alike"),
        pytest.param([(b"content-type", b"text/plain, application/x-www-form-urlencoded")], id="two in one line"),
        pytest.param([FORM, (b"content-type", b"application/json")], id="two lines"),
        pytest.param([(b"content-type", b"\xff\x00")], id="bytes"),
    ],
)
async def test_another_content_type_is_refused_before_the_body_is_read(headers: list[tuple[bytes, bytes]]) -> None:
    assert await refusal(request(*headers, receive=nothing).form()) == (400, "content_type")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "parts",
    [[b"x" * (MAX_BODY_BYTES + 1)], [b"x" * MAX_BODY_BYTES, b"x"], [b"x" * 40_000] * 3],
    ids=["one", "two", "three"],
)
async def test_a_body_that_is_too_large_is_refused(parts: list[bytes]) -> None:
    assert await refusal(request(FORM, messages=chunks(*parts)).body()) == (413, "body_too_large")


@pytest.mark.anyio
async def test_a_body_is_refused_as_soon_as_it_is_too_large() -> None:
    """The rest of an endless one is never asked for."""
    endless = [{"type": "http.request", "body": b"x" * 70_000, "more_body": True}]
    assert await refusal(request(FORM, messages=endless).body()) == (413, "body_too_large")


@pytest.mark.anyio
async def test_a_body_of_just_the_limit_is_read() -> None:
    assert len(await request(FORM, messages=chunks(b"x" * MAX_BODY_BYTES)).body()) == MAX_BODY_BYTES


@pytest.mark.anyio
@pytest.mark.parametrize(
    "sent", [[], [{"type": "http.request", "body": b"a", "more_body": True}]], ids=["nothing", "a byte"]
)
async def test_a_body_that_does_not_come_is_not_waited_for(
    sent: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_TIMEOUT_SECONDS", 0.01)
    assert await refusal(request(FORM, messages=sent).body()) == (408, "body_timeout")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "sent", [[], [{"type": "http.request", "body": b"a=1", "more_body": True}]], ids=["first", "later"]
)
async def test_half_a_body_is_nobodys_request(sent: list[Message]) -> None:
    messages = [*sent, {"type": "http.disconnect"}]
    assert await refusal(request(FORM, messages=messages).body()) == (400, "disconnected")


def test_a_header_is_read() -> None:
    found = request((b"authorization", b"Bearer abc"), (b"accept", b""))
    assert found.header(b"authorization") == "Bearer abc"
    assert found.header(b"accept") == ""
    assert found.header(b"other") is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([b"a", b"a"], "header_repeated"),
        ([b"a", b""], "header_repeated"),
        ([b"\xe9"], "header_malformed"),
        ([b"a\x00"], "header_malformed"),
        ([b"a\x7f"], "header_malformed"),
        ([b"a\x0bb"], "header_malformed"),
    ],
)
def test_a_header_is_refused(values: list[bytes], reason: str) -> None:
    with pytest.raises(OAuthError) as refused:
        request(*((b"authorization", value) for value in values)).header(b"authorization")
    assert refused.value.reason == reason


@given(st.lists(st.binary(), max_size=3))
def test_any_header_is_printable_ascii_or_refused(values: list[bytes]) -> None:
    try:
        text = request(*((b"x", value) for value in values)).header(b"x")
    except OAuthError:
        return
    assert text is None or (text.isascii() and text.isprintable())


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([b"s=abc"], "abc"),
        ([b"a=1; s=abc; b=2"], "abc"),
        ([b"a=1;s=abc"], "abc"),
        ([b"a=1", b"s=abc"], "abc"),
        ([b"s=abc; s=other"], "abc"),
        ([b"s=a=b=="], "a=b=="),
        ([b"xs=no; s=yes"], "yes"),
        ([b"s="], None),
        ([b"s"], None),
        ([b"S=abc"], None),
        ([b"__Host-s=abc"], None),
        ([b""], None),
        ([b";;;=;"], None),
        ([], None),
    ],
)
def test_a_cookie_is_read(lines: list[bytes], value: str | None) -> None:
    assert request(*((b"cookie", line) for line in lines)).cookie("s") == value


@given(st.lists(st.binary(), max_size=3), st.text(st.sampled_from("abAB_-"), min_size=1))
@example([b"\xff\xfe=\x00; s=\xff"], "s")
def test_any_cookie_header_is_read(lines: list[bytes], name: str) -> None:
    value = request(*((b"cookie", line) for line in lines)).cookie(name)
    assert value is None or (value and ";" not in value)


@given(st.binary())
def test_any_query_is_parameters_or_refused(query: bytes) -> None:
    try:
        parameters = request(query=query).query()
    except OAuthError:
        return
    assert isinstance(parameters, Parameters)


@pytest.mark.parametrize(
    ("scope_", "status"),
    [
        pytest.param(scope(query=b"x" * MAX_QUERY_BYTES), None, id="a long query"),
        pytest.param(scope(query=b"x" * (MAX_QUERY_BYTES + 1)), 414, id="a longer query"),
        pytest.param(scope(path=b"/" + b"x" * 2047), None, id="a long path"),
        pytest.param(scope(path=b"/" + b"x" * 2048), 414, id="a longer path"),
        pytest.param(scope((b"a", b"x" * (MAX_HEADER_BYTES - 1))), None, id="a large header"),
        pytest.param(scope((b"a", b"x" * MAX_HEADER_BYTES)), 431, id="a larger header"),
        pytest.param(scope(*[(b"a", b"x" * 99)] * 400), 431, id="many headers"),
        pytest.param({**scope(), "raw_path": None}, None, id="a server that does not tell the raw path"),
        pytest.param({name: value for name, value in scope().items() if name != "raw_path"}, None, id="nor its key"),
    ],
)
def test_oversized_heads_are_refused_before_anything_is_read(scope_: dict[str, Any], status: int | None) -> None:
    """RFC 9110 §15.5.15, RFC 6585 §5."""
    response = check_size(scope_)
    assert (response.status if response is not None else None) == status
    if response is not None:
        assert json.loads(response.body)["error"] == "invalid_request"


async def sent(response: Response, *, head: bool = False) -> tuple[dict[bytes, bytes], bytes]:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    await http.send_response(response, send, head=head)
    start, body = messages
    assert start["status"] == response.status
    return dict(start["headers"]), body["body"]


@pytest.mark.anyio
async def test_an_answer_says_how_long_it_is_and_head_gets_no_body() -> None:
    response = http.json_response({"a": "山"})
    headers, body = await sent(response)
    assert headers[b"content-length"] == str(len(body)).encode()
    assert json.loads(body) == {"a": "山"}
    assert await sent(response, head=True) == (headers, b"")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_cannot_have_a_body_says_no_length(status: int) -> None:
    """RFC 9110 §8.6: none with 204; with 304 only that of the 200."""
    headers, body = await sent(Response(status))
    assert b"content-length" not in headers
    assert body == b""


def test_json_is_kept_by_no_cache() -> None:
    """RFC 6749 §5.1."""
    headers = dict(http.json_response({}, 400).headers)
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"pragma"] == b"no-cache"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"content-type"] == b"application/json"


def test_more_headers_make_another_response() -> None:
    one = Response(200, b"x", ((b"a", b"1"),))
    assert one.with_headers((b"b", b"2")).headers == ((b"a", b"1"), (b"b", b"2"))
    assert one.headers == ((b"a", b"1"),)
