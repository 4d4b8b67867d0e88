"""A directory that answers simple binds (RFC 4511 §4.2) and nothing else, so that PostgreSQL can ask about a token.

PostgreSQL's `ldap` method binds as `cn=ROLE,ou=SERVER` with the password that the client sent, for each login anew.
RADIUS (128 bytes) and PAM (512) could not carry a token; LDAP carries any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from .ber import (
    ENUMERATED,
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

LONGEST_MESSAGE = 64 * 1024

_BIND_REQUEST, _BIND_RESPONSE = 0x60, 0x61
_UNBIND_REQUEST, _ABANDON_REQUEST = 0x42, 0x50
_EXTENDED_RESPONSE = 0x78
_SIMPLE, _SASL = 0x80, 0xA3
_RESPONSE_NAME = 0x8A

SUCCESS, PROTOCOL_ERROR, AUTH_METHOD_NOT_SUPPORTED = 0, 2, 7
INVALID_CREDENTIALS, UNWILLING_TO_PERFORM = 49, 53

_NOTICE_OF_DISCONNECTION = b"1.3.6.1.4.1.1466.20036"  # RFC 4511 §4.4.1


@dataclass(frozen=True, slots=True)
class BindRequest:
    """Who wants in, and with what; `password` is None for any method but the simple one."""

    message_id: int
    version: int
    name: str
    password: str | None = field(repr=False)


def parse_message(content: bytes) -> tuple[int, Element]:
    """Return the id of an LDAP message and its operation. Raises `Malformed`. RFC 4511 §4.1.1."""
    identifier, rest = take_element(content)
    operation, _controls = take_element(rest)
    return read_integer(identifier.expect(0x02)), operation


def parse_bind(message_id: int, content: bytes) -> BindRequest:
    """Read the body of a bind request. Raises `Malformed`. RFC 4511 §4.2."""
    version, rest = take_element(content)
    name, rest = take_element(rest)
    choice, rest = take_element(rest)
    if rest:
        raise Malformed("more than a bind request has")
    if choice.tag not in (_SIMPLE, _SASL):
        raise Malformed("no known way to authenticate")
    try:
        return BindRequest(
            message_id,
            read_integer(version.expect(0x02)),
            name.expect(OCTET_STRING).decode(),
            choice.content.decode() if choice.tag == _SIMPLE else None,
        )
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None


def write_result(message_id: int, tag: int, code: int, text: str, *more: bytes) -> bytes:
    """Write an LDAPResult under this tag. RFC 4511 §4.1.9."""
    result = (
        write_element(ENUMERATED, bytes((code,))) + write_element(OCTET_STRING, b"") + write_element(4, text.encode())
    )
    return write_element(SEQUENCE, write_integer(message_id) + write_element(tag, result + b"".join(more)))


class Directory:
    """The server behind `ldap` lines of `pg_hba.conf`. `check(name, password)` returns None, or why not."""

    def __init__(self, check: Callable[[str, str], str | None]) -> None:
        self._check = check
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._answer_all(reader, writer)
        except Malformed:
            notice = write_element(_RESPONSE_NAME, _NOTICE_OF_DISCONNECTION)
            writer.write(write_result(0, _EXTENDED_RESPONSE, PROTOCOL_ERROR, "malformed", notice))
        except ConnectionError:
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffered = b""
        while True:
            if buffered and buffered[0] != SEQUENCE:
                raise Malformed("no message begins like this")
            found = read_element(buffered, longest=LONGEST_MESSAGE)
            if found is None:
                received = await reader.read(LONGEST_MESSAGE)
                if not received:
                    return
                buffered += received
                continue
            message, buffered = found
            answer = self.answer(message.content)
            if answer is None:
                return
            writer.write(answer)
            await writer.drain()

    def answer(self, message: bytes) -> bytes | None:
        """Return what one message is answered with; None ends the connection. Raises `Malformed`."""
        message_id, operation = parse_message(message)
        if operation.tag == _UNBIND_REQUEST:
            return None
        if operation.tag == _ABANDON_REQUEST:
            return b""
        if operation.tag != _BIND_REQUEST:
            raise Malformed("an operation other than bind and unbind")
        code, text = self._decide(parse_bind(message_id, operation.content))
        return write_result(message_id, _BIND_RESPONSE, code, text)

    def _decide(self, request: BindRequest) -> tuple[int, str]:
        if request.version != 3:
            return PROTOCOL_ERROR, "version 3 only"
        if request.password is None:
            return AUTH_METHOD_NOT_SUPPORTED, "simple binds only"
        if not request.name or not request.password:
            # A name without a password would be let in as nobody, and PostgreSQL would take that for a success.
            return UNWILLING_TO_PERFORM, "no unauthenticated bind"  # RFC 4513 §5.1.2
        reason = self._check(request.name, request.password)
        return (SUCCESS, "") if reason is None else (INVALID_CREDENTIALS, reason)
