"""Messages of Protocol Buffers as they are encoded: numbered fields, without the schema.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, WIDE, BYTES, NARROW = 0, 1, 2, 5
"""Kinds of a field's encoding; of numbers that fill 8 and 4 bytes the bytes are given."""
_LONGEST = 10
"""Most bytes of a varint."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    r"""Give the number and the value of each field of a message, in order.

    Raises
    ------
    ValueError
        Where the bytes are no message.

    Examples
    --------
    >>> list(fields(b"\x08\x96\x01\x12\x02de"))
    [(1, 150), (2, b'de')]
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        # The low three bits of a tag are the kind of encoding, the rest the number of the field.
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == BYTES:
            size, position = _varint(message, position)
        elif kind in (WIDE, NARROW):
            size = 8 if kind == WIDE else 4
        else:
            raise ValueError("it holds a field of an unknown kind")
        if position + size > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[position : position + size]
        position += size


def messages(message: bytes, wanted: int) -> Iterator[bytes]:
    """Give the values of a repeated field that are bytes: texts or inner messages."""
    for number, value in fields(message):
        if number == wanted and isinstance(value, bytes):
            yield value


def text(message: bytes, wanted: int) -> str:
    """Return a field that is text; empty where it is not set."""
    return next((value.decode(errors="replace") for value in messages(message, wanted)), "")


def varints(packed: bytes) -> Iterator[int]:
    """Give the whole numbers of a packed field."""
    position = 0
    while position < len(packed):
        value, position = _varint(packed, position)
        yield value


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the whole number at a position, and the position behind it."""
    value = 0
    for k, byte in enumerate(message[position : position + _LONGEST]):
        # Seven bits of a number per byte, the lowest first; the eighth says that another byte follows.
        value |= (byte & 0x7F) << 7 * k
        if byte < 0x80:
            return value, position + k + 1
    raise ValueError("a number is cut off")
