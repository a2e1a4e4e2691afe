"""Event files of TensorBoard, read without its package: scalars by step.

Numbers of fields: github.com/tensorflow/tensorflow, core/util/event.proto, core/framework/summary.proto, tensor.proto.
"""

import struct

from climbopt.files.records import fields, messages, prefixed_records, text, varint

NAME = "events.out.tfevents"
"""What the names of such files hold."""
_STEP, _SUMMARY = 2, 5
_VALUE, _TAG, _SIMPLE, _TENSOR = 1, 1, 2, 8
_TYPE, _SHAPE, _CONTENT, _DIM = 1, 2, 4, 2


_TYPES = {1: (5, "<f"), 2: (6, "<d"), 3: (7, "<i"), 9: (10, "<q")}
"""Of a tensor's type: the field of its values, and how raw content holds one."""
_FLOATS = (1, 2)
"""Types whose field holds its packed values as raw content does; the others have varints there."""


def scalars(content: bytes) -> dict[int, dict[str, float]]:
    """Return the scalars of an event file by step and tag, in the order of the steps' first events.

    Raises
    ------
    ValueError
        Where the file is damaged.
    """
    by_step: dict[int, dict[str, float]] = {}
    for event in prefixed_records(content):
        step = next((_signed(n) for number, n in fields(event) if number == _STEP and isinstance(n, int)), 0)
        for summary in messages(event, _SUMMARY):
            for value in messages(summary, _VALUE):
                if (scalar := _scalar(value)) is not None:
                    by_step.setdefault(step, {})[text(value, _TAG)] = scalar
    return by_step


def _scalar(value: bytes) -> float | None:
    """Return the number of a summary's value; None where it is none, such as a picture."""
    # A scalar of version 1 is a field of its own; version 2 writes a tensor without dimensions.
    for simple in messages(value, _SIMPLE):
        return float(struct.unpack_from("<f", simple)[0])
    for tensor in messages(value, _TENSOR):
        kind = next((number for field, number in fields(tensor) if field == _TYPE and isinstance(number, int)), 0)
        # Anything with dimensions is no scalar: a histogram, or a picture as bytes.
        if kind not in _TYPES or any(True for shape in messages(tensor, _SHAPE) for _ in messages(shape, _DIM)):
            return None
        field, raw = _TYPES[kind]
        for content in (*messages(tensor, _CONTENT), *(messages(tensor, field) if kind in _FLOATS else ())):
            return float(struct.unpack_from(raw, content)[0])
        for number, stated in fields(tensor):
            if number == field:
                return float(_signed(varint(stated)[0] if isinstance(stated, bytes) else stated))
        return 0.0  # the default, which is not written
    return None


def _signed(number: int) -> int:
    """Return a whole number of 64 bits with its sign."""
    return number - (1 << 64) if number >> 63 else number
