"""Parquet files with page checksums, written for every page and verified on reading.

What belongs here: how parquet files are opened, and which errors count as damage. What does not: the paths of files,
and the handling of damaged ones. Only reads through this module verify pages; DuckDB does not.
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
"""Returns the error for a damaged file, given the reason, such as a checksum that does not match."""


def create_parquet(path: Path, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """Open a parquet file for writing, with a checksum for each page; `options` are those of pyarrow's writer."""
    return pq.ParquetWriter(path, schema, write_page_checksum=True, **options)


class CheckedFile(pq.ParquetFile):
    """A parquet file whose pages are verified when they are read; damage raises the error of `damaged`."""

    def __init__(self, source: Path | BinaryIO, damaged: Damaged) -> None:
        self._damaged = damaged
        with translate_damage(damaged):
            super().__init__(source, page_checksum_verification=True)

    def read(self, *arguments: Any, **options: Any) -> pa.Table:
        """Read all row groups; see pyarrow."""
        with translate_damage(self._damaged):
            return super().read(*arguments, **options)

    def read_row_group(self, *arguments: Any, **options: Any) -> pa.Table:
        """Read one row group; see pyarrow."""
        with translate_damage(self._damaged):
            return super().read_row_group(*arguments, **options)

    def iter_batches(self, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        """Yield record batches; see pyarrow."""
        with translate_damage(self._damaged):
            yield from super().iter_batches(*arguments, **options)


def written_schema(footer: pq.FileMetaData) -> pa.Schema:
    """Return the schema that a file's rows were written with; reading changes the names of list items.

    Raises:
        ValueError: the footer contains two different lists of columns.
    """
    schema = footer.schema.to_arrow_schema()
    stored = (footer.metadata or {}).get(b"ARROW:schema")
    written = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(stored))) if stored else schema
    if written.names != schema.names:
        raise ValueError("the columns in its footer contradict each other")
    return written


@contextmanager
def translate_damage(damaged: Damaged) -> Iterator[None]:
    """Translate errors about the content of a file into the error of `damaged`.

    Missing files, missing permissions, and failing disks and networks are not damage; their errors are not changed.
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
    # Errors of the operating system have an errno; those of buckets and networks have their own classes.
    of_content = type(error) is OSError and error.errno is None
    return of_content or isinstance(error, pa.ArrowException | ValueError | struct.error)
