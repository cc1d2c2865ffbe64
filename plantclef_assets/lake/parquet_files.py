"""Parquet files with checksums: every page is written with one, and every page that has one is verified on reading.

What belongs here: how parquet files are opened, and what counts as damage. What does not: where files lie, and what to
do about a damaged one. Only reads through this module verify pages; DuckDB verifies nothing.
"""

import base64
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

Damaged = Callable[[str], Exception]
"""Makes the error for a damaged file from the reason, such as a checksum that does not match."""


def create_parquet(path: Path, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """Open a parquet file for writing, with a checksum for each page; `options` are those of pyarrow's writer."""
    return pq.ParquetWriter(path, schema, write_page_checksum=True, **options)


class CheckedFile(pq.ParquetFile):
    """A parquet file whose pages are verified when they are read; a fault in it raises the error of `damaged`."""

    def __init__(self, source: Path | BinaryIO, damaged: Damaged) -> None:
        self._damaged = damaged
        with damage_named(damaged):
            super().__init__(source, page_checksum_verification=True)

    def read(self, *arguments: Any, **options: Any) -> pa.Table:
        """Read all row groups; see pyarrow."""
        with damage_named(self._damaged):
            return super().read(*arguments, **options)

    def read_row_group(self, *arguments: Any, **options: Any) -> pa.Table:
        """Read one row group; see pyarrow."""
        with damage_named(self._damaged):
            return super().read_row_group(*arguments, **options)

    def iter_batches(self, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        """Yield record batches; see pyarrow."""
        with damage_named(self._damaged):
            yield from super().iter_batches(*arguments, **options)


def written_schema(footer: pq.FileMetaData) -> pa.Schema:
    """Return the schema that a file's rows were written with; what is read names the items of lists otherwise.

    Raises:
        ValueError: the footer names other columns elsewhere.
    """
    schema = footer.schema.to_arrow_schema()
    stored = (footer.metadata or {}).get(b"ARROW:schema")
    written = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(stored))) if stored else schema
    if written.names != schema.names:
        raise ValueError("the columns in its footer contradict each other")
    return written


@contextmanager
def damage_named(damaged: Damaged) -> Iterator[None]:
    """Turn what readers raise about the content of a file into the error of `damaged`.

    Missing files, missing permissions, failing disks and networks are no damage and stay what they are.
    """
    try:
        yield
    except Exception as error:
        if not _is_damage(error):
            raise
        raise damaged(" ".join(str(error).split()) or type(error).__name__) from error


def _is_damage(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return False
    # Errors of the operating system have a number, those of buckets and networks a class of their own.
    of_content = type(error) is OSError and error.errno is None
    return of_content or isinstance(error, pa.ArrowException | ValueError | struct.error)
