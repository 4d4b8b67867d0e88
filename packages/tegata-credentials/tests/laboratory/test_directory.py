"""The directory: messages as RFC 4511 writes them, and bytes that nobody should have sent."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_credentials.testing.ber import (
    OCTET_STRING,
    SEQUENCE,
    Element,
    Malformed,
    read_element,
    read_integer,
    take_element,
    write_element,
    write_integer,
)
from tegata_credentials.testing.directory import LONGEST_MESSAGE, Directory, parse_bind, parse_message

pytestmark = pytest.mark.anyio

# A busy machine must not fail these: no deadline, no complaint about slow generation.
relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bind(name: bytes, choice: bytes, *, version: int = 3, message_id: int = 1) -> bytes:
    """The content of the message, without the outer sequence."""
    body = write_integer(version) + write_element(OCTET_STRING, name) + choice
    return write_integer(message_id) + write_element(0x60, body)


def simple(password: bytes) -> bytes:
    return write_element(0x80, password)


def result_of(answer: bytes | None) -> int:
    assert answer is not None
    message, rest = take_element(answer)
    assert rest == b""
    _, operation = parse_message(message.expect(SEQUENCE))
    code, _ = take_element(operation.content)
    return code.content[0]


def check(name: str, password: str) -> str | None:
    return None if (name, password) == ("cn=app,ou=writer", "right") else "expired"


def test_a_bind_message_of_the_wire_is_understood() -> None:
    wire = bytes.fromhex("300c020101600702010304008000")
    found = read_element(wire, longest=LONGEST_MESSAGE)
    assert found is not None
    message_id, operation = parse_message(found[0].expect(SEQUENCE))
    request = parse_bind(message_id, operation.content)
    assert (request.message_id, request.version, request.name, request.password) == (1, 3, "", "")


def test_the_right_password_is_accepted_and_a_wrong_one_is_invalid_credentials() -> None:
    directory = Directory(check)
    assert result_of(directory.answer(bind(b"cn=app,ou=writer", simple(b"right")))) == 0
    assert result_of(directory.answer(bind(b"cn=app,ou=writer", simple(b"wrong")))) == 49


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(bind(b"cn=app", simple(b"")), 53, id="a name without a password"),
        pytest.param(bind(b"", simple(b"")), 53, id="nobody"),
        pytest.param(bind(b"cn=app", simple(b"x"), version=2), 2, id="version 2"),
        pytest.param(bind(b"cn=app", write_element(0xA3, b"")), 7, id="SASL"),
    ],
)
def test_other_binds_never_succeed(message: bytes, code: int) -> None:
    assert result_of(Directory(lambda name, password: None).answer(message)) == code


def test_unbind_ends_the_connection_and_abandon_is_not_answered() -> None:
    directory = Directory(check)
    assert directory.answer(write_integer(2) + write_element(0x42, b"")) is None
    assert directory.answer(write_integer(3) + write_element(0x50, b"\x01")) == b""


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(write_integer(1), id="no operation"),
        pytest.param(write_integer(1) + write_element(0x63, b""), id="a search"),
        pytest.param(bind(b"\xff", simple(b"x")), id="a name that is not UTF-8"),
        pytest.param(bind(b"cn=app", simple(b"x") + b"\x04\x00"), id="too many elements"),
        pytest.param(bind(b"cn=app", write_element(0x81, b"x")), id="an unknown method"),
        pytest.param(write_element(2, b"\xff") + write_element(0x60, b""), id="a negative id"),
        pytest.param(write_element(2, b"\x00" * 6) + write_element(0x60, b""), id="a long id"),
        pytest.param(write_element(4, b"1") + write_element(0x60, b""), id="an id of another type"),
    ],
)
def test_malformed_messages_are_told_apart(message: bytes) -> None:
    with pytest.raises(Malformed):
        Directory(check).answer(message)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x30\x80", id="indefinite length"),
        pytest.param(b"\x30\x85\x00\x00\x00\x00\x01", id="a length of five bytes"),
        pytest.param(b"\x30\x84\xff\xff\xff\xff", id="four gigabytes"),
        pytest.param(b"\x3f\x81\x01", id="a tag of two bytes"),
    ],
)
def test_a_head_that_promises_nonsense_is_refused_before_the_rest_arrives(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_element(data, longest=LONGEST_MESSAGE)


@relaxed
@given(tag=st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F), content=st.binary(max_size=400))
def test_what_is_written_is_read_back_from_any_cut(tag: int, content: bytes) -> None:
    written = write_element(tag, content)
    assert take_element(written + b"more") == (Element(tag, content), b"more")
    assert all(read_element(written[:cut], longest=1000) is None for cut in range(len(written)))


@relaxed
@given(st.integers(0, 2**31 - 1))
def test_integers_survive(value: int) -> None:
    assert read_integer(take_element(write_integer(value))[0].content) == value


@relaxed
@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_malformed(data: bytes) -> None:
    directory = Directory(check)
    try:
        directory.answer(data)
        read_element(data, longest=64)
    except Malformed:
        pass


@pytest.mark.parametrize("pieces", [[bind(b"cn=app,ou=writer", simple(b"right"))]], ids=["a bind"])
async def test_over_a_socket_a_message_may_come_byte_by_byte_and_garbage_is_disconnected(pieces: list[bytes]) -> None:
    directory = Directory(check)
    await directory.open()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", directory.port)
        for byte in write_element(SEQUENCE, pieces[0]):
            writer.write(bytes((byte,)))
            await writer.drain()
        head = await reader.readexactly(2)
        assert result_of(head + await reader.readexactly(head[1])) == 0
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        rest = await reader.read()
        assert b"1.3.6.1.4.1.1466.20036" in rest
        writer.close()
        await writer.wait_closed()
    finally:
        await directory.close()
