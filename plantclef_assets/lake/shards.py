"""Shards: the parquet files of a partitioned asset, each a pure function of its inputs.

A shard that is to be made is an artifact with its provenance. Its rows and what was set aside are counted together,
so that rows in = rows out + rows quarantined can be checked from the footer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.table_specs import TableSpec
from plantclef_assets.lake.tables import TableWriter, write_quarantine, write_table

_ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class Shard:
    """An artifact that is to be made: a shard, or the one file of an asset without partitions.

    Attributes:
        artifact: its address.
        provenance: what it will say of its making.
        origin: for a manifest, the address of the photographs that it lists.
    """

    artifact: Artifact
    provenance: Mapping[str, Any]
    origin: str | None = None


@dataclass
class ShardWriter:
    """Takes the rows of a shard, and what is set aside while they are made."""

    table: TableWriter
    schema: pa.Schema
    rows_in: int = 0
    findings: list[dict[str, str | None]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """Figures of the caller's own, for the footer."""

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add rows given one by one."""
        if rows:
            self.table.write(pa.RecordBatch.from_pylist(rows, schema=self.schema))

    def add_columns(self, **columns: Any) -> None:
        """Add rows given as columns by name (lists, arrays; matrices for vectors)."""
        self.table.write_rows(**columns)

    def set_aside(self, source: str, name: str | None, reason: str, detail: str | None) -> None:
        """Note a row that goes to quarantine instead of into the shard."""
        self.findings.append({"source": source, "image_name": name, "reason": reason, "detail": detail})


def read_rows(lake: Lake, artifact: Artifact) -> Iterator[dict[str, Any]]:
    """Give the rows of an artifact one by one, reading a few at a time.

    Raises:
        MissingArtifactError: it is not in the lake.
    """
    for batch in lake.open(artifact).iter_batches(batch_size=_ROWS_AT_ONCE):
        yield from batch.to_pylist()


@contextmanager
def write_shard(
    lake: Lake, shard: Shard, spec: TableSpec, *, widths: Mapping[str, int] | None = None
) -> Iterator[ShardWriter]:
    """Write one shard and its quarantine table; both appear whole when the block ends well, the shard last.

    Raises:
        ChangedInputError: an input is no longer the one that the shard is to be made from.
        UnsoundTableError: the rows would make later work wrong (see `figures.enforce`).
    """
    with write_table(lake, shard.artifact, spec, shard.provenance, widths=widths) as table:
        writer = ShardWriter(table, spec.schema(**(widths or {})))
        yield writer
        accounts = {"rows_in": writer.rows_in, "quarantined": len(writer.findings)}
        table.figures = accounts | writer.figures
        require_unchanged(lake, shard.provenance)  # a table that is refused leaves the quarantine of the last one alone
        write_quarantine(lake, shard.artifact, writer.findings)
