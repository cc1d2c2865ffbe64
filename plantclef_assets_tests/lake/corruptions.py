"""Corruptions of files that tests of several packages use."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from plantclef_assets.lake.parquet_files import written_schema


def flip_bytes(path: Path, at: int) -> None:
    """Flip every bit of eight bytes of a file."""
    content = bytearray(path.read_bytes())
    content[at : at + 8] = bytes(byte ^ 0xFF for byte in content[at : at + 8])
    path.write_bytes(content)


def flip_page(path: Path, column: str) -> None:
    """Flip the last eight bytes of a column's last data page."""
    group = pq.read_metadata(path).row_group(-1 + pq.read_metadata(path).num_row_groups)
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema.split(".")[0] == column:
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            flip_bytes(path, start + chunk.total_compressed_size - 8)


def write_as_before_checksums(path: Path, table: pa.Table | None = None) -> None:
    """Write a parquet file again without page checksums and with the footer that it had, with other rows if given."""
    with pq.ParquetFile(path) as file:
        schema, metadata = written_schema(file.metadata), file.metadata.metadata
        rows = (table or file.read()).cast(schema)
    with pq.ParquetWriter(path, schema) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({key: value for key, value in metadata.items() if key != b"ARROW:schema"})
