"""The fingerprint of a table: a hash of its rows, independent of batches, row groups and compression."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Fingerprint:
    """An incremental hash of rows; the digest does not depend on how the rows are divided into batches."""

    def __init__(self) -> None:
        self._streams: dict[str, Any] = {}

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        if not batch.num_rows:
            return
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self._feed(name, column)

    def digest(self) -> str:
        """Return the fingerprint of all rows so far, 32 hexadecimal digits."""
        total = hashlib.blake2b(digest_size=16)
        for path in sorted(self._streams):
            total.update(path.encode() + b"\0" + self._streams[path].digest())
        return total.hexdigest()

    def _stream(self, path: str) -> Any:
        return self._streams.setdefault(path, hashlib.blake2b(digest_size=16))

    def _feed(self, path: str, column: pa.Array) -> None:
        """Hash validity, lengths and values in separate streams, so that batch boundaries have no effect."""
        path = f"{path}:{column.type}"
        self._stream(path + "/valid").update(np.asarray(column.is_valid()).astype(np.uint8).tobytes())
        kind = column.type
        if pa.types.is_fixed_size_list(kind):
            self._feed(path, column.flatten())
        elif pa.types.is_list(kind):
            self._stream(path + "/lengths").update(_numbers(pc.list_value_length(column), np.int64))
            self._feed(path, column.flatten())
        elif pa.types.is_struct(kind):
            for field, values in zip(kind, column.flatten(), strict=True):
                self._feed(f"{path}/{field.name}", values)
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):
            lengths = pc.binary_length(column)
            self._stream(path + "/lengths").update(_numbers(lengths, np.int64))
            self._stream(path + "/values").update(_bytes(column))
        else:
            self._stream(path + "/values").update(_numbers(column, column.type.to_pandas_dtype()))


def _numbers(column: pa.Array, kind: Any) -> bytes:
    return np.asarray(column.fill_null(pa.scalar(0).cast(column.type)), dtype=kind).tobytes()


def _bytes(column: pa.Array) -> memoryview | bytes:
    """Return the values of a string or binary column as contiguous bytes, without copying."""
    filled = column.fill_null(b"" if pa.types.is_binary(column.type) else "")
    _, offsets, data = filled.buffers()
    if data is None:
        return b""
    ends = np.frombuffer(offsets, dtype=np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]
