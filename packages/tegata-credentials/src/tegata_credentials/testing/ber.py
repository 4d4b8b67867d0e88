"""The part of the Basic Encoding Rules that a directory needs which answers binds and nothing else.

RFC 4511 §5.1 allows definite lengths only, so an indefinite length is malformed here, and so is a tag of more than
one byte, which no message of LDAP has.
"""

from __future__ import annotations

from dataclasses import dataclass

INTEGER = 0x02
OCTET_STRING = 0x04
ENUMERATED = 0x0A
SEQUENCE = 0x30

_LONGEST_LENGTH = 4  # bytes that say how long an element is
_MANY_BYTE_TAG = 0x1F


class Malformed(Exception):
    """These bytes are no element."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag and what is in it."""

    tag: int
    content: bytes

    def expect(self, tag: int) -> bytes:
        """Return the content of an element that must have this tag. Raises `Malformed`."""
        if self.tag != tag:
            raise Malformed(f"tag {self.tag:#04x} where {tag:#04x} belongs")
        return self.content


def read_element(data: bytes, *, longest: int) -> tuple[Element, bytes] | None:
    """Return the first element and the bytes behind it; None while it is not complete.

    Raises `Malformed`, also for a promised length above `longest`: nobody has to buffer what will be refused.
    """
    if len(data) < 2:
        return None
    tag, length, start = data[0], data[1], 2
    if tag & _MANY_BYTE_TAG == _MANY_BYTE_TAG:
        raise Malformed("a tag of several bytes")
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= _LONGEST_LENGTH:
            raise Malformed("an indefinite or absurd length")
        if len(data) < start + size:
            return None
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if length > longest:
        raise Malformed(f"{length} bytes, {longest} are the most")
    if len(data) < start + length:
        return None
    return Element(tag, data[start : start + length]), data[start + length :]


def take_element(data: bytes) -> tuple[Element, bytes]:
    """Return the first element of a complete content and the rest. Raises `Malformed` if there is none."""
    found = read_element(data, longest=len(data))
    if found is None:
        raise Malformed("it ends in the middle of an element")
    return found


def read_integer(content: bytes) -> int:
    """Read a non-negative integer of at most 31 bits: the range of message ids and versions. Raises `Malformed`."""
    if not 1 <= len(content) <= 5:
        raise Malformed("not a 31-bit integer")
    value = int.from_bytes(content, "big", signed=True)
    if not 0 <= value < 2**31:
        raise Malformed("not a 31-bit integer")
    return value


def write_integer(value: int) -> bytes:
    """Write a non-negative integer."""
    return write_element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def write_element(tag: int, content: bytes) -> bytes:
    """Write an element with the shortest form of its length."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content
