"""Shards: the parquet files of a partitioned asset, each a pure function of its inputs.

Rows and quarantined rows of a shard are counted together, so that the footer suffices to check that
rows in = rows out + rows quarantined.
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
    """An artifact to be made: a shard, or the single file of an asset without partitions.

    Attributes:
        artifact: the artifact.
        provenance: its provenance.
        origin: for a manifest, the address of the photographs that it lists.
    """

    artifact: Artifact
    provenance: Mapping[str, Any]
    origin: str | None = None


@dataclass
class ShardWriter:
    """Collects the rows of a shard, and the rows that are quarantined while it is made."""

    table: TableWriter
    schema: pa.Schema
    rows_in: int = 0
    quarantined: list[dict[str, str | None]] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    """Additional statistics for the footer."""

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add rows given as dictionaries."""
        if rows:
            self.table.write(pa.RecordBatch.from_pylist(rows, schema=self.schema))

    def add_columns(self, **columns: Any) -> None:
        """Add rows given as columns by name: lists or arrays, matrices for vectors."""
        self.table.write_rows(**columns)

    def quarantine(self, source: str, name: str | None, reason: str, detail: str | None) -> None:
        """Record a row for the quarantine table."""
        self.quarantined.append({"source": source, "image_name": name, "reason": reason, "detail": detail})


def read_rows(lake: Lake, artifact: Artifact) -> Iterator[dict[str, Any]]:
    """Yield the rows of an artifact, reading a few at a time.

    Raises:
        MissingArtifactError: the artifact is not in the lake.
    """
    for batch in lake.open(artifact).iter_batches(batch_size=_ROWS_AT_ONCE):
        yield from batch.to_pylist()


@contextmanager
def write_shard(
    lake: Lake, shard: Shard, spec: TableSpec, *, widths: Mapping[str, int] | None = None
) -> Iterator[ShardWriter]:
    """Write one shard and its quarantine table; both are published when the block succeeds, the shard last.

    Raises:
        ChangedInputError: an input was replaced since the provenance was determined.
        UnsoundTableError: the rows would corrupt later results (see `statistics.enforce`).
    """
    with write_table(lake, shard.artifact, spec, shard.provenance, widths=widths) as table:
        writer = ShardWriter(table, spec.schema(**(widths or {})))
        yield writer
        accounts = {"rows_in": writer.rows_in, "quarantined": len(writer.quarantined)}
        table.statistics = accounts | writer.statistics
        require_unchanged(lake, shard.provenance)  # a refused table does not replace the quarantine of the current one
        write_quarantine(lake, shard.artifact, writer.quarantined)
