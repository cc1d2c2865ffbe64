"""The header of safetensors files, read without their tensors: eight bytes of length, then JSON.

What belongs here: the form of the header (the format's specification). What does not: the tensors, and what the
metadata mean.
"""

import json
import struct
from typing import Any, BinaryIO

_MOST_BYTES = 100_000_000
"""The longest header that the format allows."""


def read_header(stream: BinaryIO, size: int) -> dict[str, Any]:
    """Read the header of a safetensors file: name of a tensor → its dtype, shape and offsets, and `__metadata__`.

    Args:
        stream: the file, at its first byte.
        size: its bytes.

    Raises:
        ValueError: the header is truncated, too long or no JSON, or names something twice, or its tensors do not follow
            one another up to the end of the file.
    """
    start = stream.read(8)
    if len(start) < 8:
        raise ValueError("its header is truncated")
    (length,) = struct.unpack("<Q", start)
    if length > min(size - 8, _MOST_BYTES):
        raise ValueError("its header ends beyond the file" if length > size - 8 else "its header is too long")
    try:
        header = json.loads(stream.read(length), object_pairs_hook=_without_repetition)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    end = 0
    for first, last in sorted(_offsets(tensor) for name, tensor in header.items() if name != "__metadata__"):
        if first != end or last < first:
            raise ValueError("its tensors do not follow one another")
        end = last
    if end != size - 8 - length:
        raise ValueError("its tensors do not end with the file")
    return header


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("its header names something twice")
    return dict(pairs)


def _offsets(tensor: Any) -> tuple[int, int]:
    try:
        first, last = tensor["data_offsets"]
        if type(first) is type(last) is int:
            return first, last
    except (KeyError, TypeError, ValueError):
        pass
    raise ValueError("its header gives a tensor no offsets")
