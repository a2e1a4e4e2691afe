"""Binary files of trackers: their records, one after the other, and the messages of Protocol Buffers in them.

Messages are read by numbers of fields, without the schema. A file whose writer was killed ends within a record, which
is left out; a record whose checksum differs is refused.
Sources: github.com/google/leveldb, doc/log_format.md; tensorflow.org/tutorials/load_data/tfrecord;
protobuf.dev/programming-guides/encoding.
"""

import struct
import zlib
from collections.abc import Iterator

BLOCK = 32768
"""Bytes of a block of LevelDB's log, at whose end no record begins."""
_CHUNK = struct.Struct("<IHB")
"""Checksum, length and type of a chunk of a record."""
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_CASTAGNOLI = 0x82F63B78
"""Polynomial of CRC-32C, its bits in reverse."""
_MASK = 0xA282EAD8
VARINT, BYTES = 0, 2
"""Kinds of a field's encoding."""
SIZES = {1: 8, 5: 4}
"""Bytes by the kind of numbers of a fixed size, of which the bytes are given."""
_LONGEST = 10
"""Most bytes of a varint."""


def chunked_records(content: bytes, start: int) -> Iterator[bytes]:
    """Give the records of a log of LevelDB whose header has `start` bytes, with checksums by CRC-32.

    Raises
    ------
    ValueError
        Names the byte at which a chunk is damaged.
    """
    position, parts = start, list[bytes]()
    while position + _CHUNK.size <= len(content):
        left = BLOCK - position % BLOCK
        checksum, length, kind = _CHUNK.unpack_from(content, position)
        # The next block follows where no header fits into the rest of this one, or it was reserved and not written.
        if left < _CHUNK.size or not (checksum or length or kind):
            position += left
            continue
        data = content[position + _CHUNK.size : position + _CHUNK.size + length]
        # The file ends within the chunk: its writer was killed.
        if position + _CHUNK.size + length > len(content):
            return
        # A chunk in the middle or at the end continues a record that has begun, and no other does.
        kinds = (_MIDDLE, _LAST) if parts else (_FULL, _FIRST)
        if kind not in kinds or _CHUNK.size + length > left:
            raise ValueError(f"it is damaged at byte {position}")
        # The checksum covers the type and the data.
        if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
            raise ValueError(f"its checksum differs at byte {position}")
        parts.append(data)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
            parts = []
        position += _CHUNK.size + length


def prefixed_records(content: bytes) -> Iterator[bytes]:
    """Give the records of a file of TensorFlow: length, data, and a checksum by CRC-32C of each.

    Raises
    ------
    ValueError
        Names the byte at which a record is damaged.
    """
    position, around = 0, _LENGTH.size + 2 * _CHECKSUM.size
    while position + around <= len(content):
        (length,) = _LENGTH.unpack_from(content, position)
        _check(content, position, _LENGTH.size)
        data = position + _LENGTH.size + _CHECKSUM.size
        if data + length + _CHECKSUM.size > len(content):
            return
        _check(content, data, length)
        yield content[data : data + length]
        position += around + length


def _check(content: bytes, start: int, length: int) -> None:
    """Refuse bytes whose checksum, which follows them, differs."""
    end = start + length
    if masked_checksum(content[start:end]) != _CHECKSUM.unpack_from(content, end)[0]:
        raise ValueError(f"its checksum differs at byte {start}")


def masked_checksum(data: bytes) -> int:
    """Return the checksum of bytes by CRC-32C, masked as TensorFlow writes it.

    Examples
    --------
    >>> hex(masked_checksum(bytes(32)))
    '0xfd7fffa'
    """
    rest = 0xFFFFFFFF
    for byte in data:
        rest = _REMAINDERS[(rest ^ byte) & 0xFF] ^ (rest >> 8)
    rest ^= 0xFFFFFFFF
    # Rotated by 15 bits and shifted by a constant, so that checksums of checksums stay good.
    return (((rest >> 15) | (rest << 17)) + _MASK) & 0xFFFFFFFF


def _remainder(byte: int) -> int:
    """Return what a byte leaves after division by the polynomial."""
    for _ in range(8):
        byte = (byte >> 1) ^ (_CASTAGNOLI if byte & 1 else 0)
    return byte


_REMAINDERS = tuple(map(_remainder, range(256)))


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
        tag, position = varint(message, position)
        # The low three bits of a tag are the kind of encoding, the rest the number of the field.
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = varint(message, position)
            yield number, value
            continue
        if kind not in (BYTES, *SIZES):
            raise ValueError("it holds a field of an unknown kind")
        size, position = varint(message, position) if kind == BYTES else (SIZES[kind], position)
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


def varint(message: bytes, position: int = 0) -> tuple[int, int]:
    """Return the whole number at a position, and the position behind it; raises ValueError where it is cut off."""
    value = 0
    for k, byte in enumerate(message[position : position + _LONGEST]):
        # Seven bits of a number per byte, the lowest first; the eighth says that another byte follows.
        value |= (byte & 0x7F) << 7 * k
        if byte < 0x80:
            return value, position + k + 1
    raise ValueError("a number is cut off")
