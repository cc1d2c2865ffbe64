"""Writing of tables, their shards and quarantine tables: batches in, one published parquet file with a record out.

A shard is a parquet file of a partitioned asset, and a pure function of its inputs. Its rows and quarantined rows are
counted together, so that the footer suffices to check that rows in = rows out + rows quarantined.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from plantclef_assets.lake.fingerprints import Fingerprint
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.parquet_files import create_parquet
from plantclef_assets.lake.schemas import QUARANTINE
from plantclef_assets.lake.statistics import TableStatistics, UnsoundTableError, enforce
from plantclef_assets.lake.store import Artifact, Lake, record_metadata
from plantclef_assets.lake.table_specs import TableSpec

ROW_GROUP_BYTES = 64 * 2**20
"""Approximate size of row groups: large enough for fast reading, small enough for memory."""
_ROWS_AT_ONCE = 128

_HASHED_BYTES = 2**20
"""Small batches are hashed together: the cost of hashing a batch hardly depends on its number of rows."""


class TableWriter:
    """Writes batches in row groups, and computes the statistics and the fingerprint of their rows."""

    def __init__(self, writer: pq.ParquetWriter, spec: TableSpec) -> None:
        self._writer = writer
        self._spec = spec
        self._counted = TableStatistics(spec)
        self._fingerprint = Fingerprint()
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._unhashed: list[pa.RecordBatch] = []
        self._unhashed_bytes = 0
        self.statistics: dict[str, Any] = {}
        """Additional statistics, stored together with the computed ones."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Raises:
            UnsoundTableError: a required value is null.
        """
        for name in self._spec.required:
            if name in batch.schema.names and batch.column(name).null_count:
                raise UnsoundTableError(f"{batch.column(name).null_count} rows have no {name}, which must not be null")
        if not batch.schema.equals(self._writer.schema, check_metadata=True):
            batch = batch.cast(self._writer.schema)
        self._counted.update(batch)
        size = batch.nbytes
        self._unhashed.append(batch)
        self._unhashed_bytes += size
        if self._unhashed_bytes >= _HASHED_BYTES:
            self._hash()
        self._waiting.append(batch)
        self._waiting_bytes += size
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def write_rows(self, **columns: Any) -> None:
        """Add rows given as columns by name; missing columns are null."""
        length = len(next(iter(columns.values())))
        schema = self._writer.schema
        arrays = [
            _array(columns[column.name], column.type) if column.name in columns else pa.nulls(length, column.type)
            for column in schema
        ]
        self.write(pa.RecordBatch.from_arrays(arrays, schema=schema))

    def close(self, artifact: Artifact, provenance: Mapping[str, Any], *, enforced: bool) -> None:
        """Write the remaining rows and the record."""
        self._hash()
        self._flush()
        statistics = self._counted.result() | self.statistics
        if enforced:
            enforce(artifact, statistics)
        record = record_metadata(provenance, self._fingerprint.digest(), statistics)
        self._writer.add_key_value_metadata(record)
        self._writer.close()

    def _hash(self) -> None:
        if self._unhashed:
            several = len(self._unhashed) > 1
            self._fingerprint.update(pa.concat_batches(self._unhashed) if several else self._unhashed[0])
        self._unhashed, self._unhashed_bytes = [], 0

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._waiting, self._waiting_bytes = [], 0


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values.cast(kind)
    if pa.types.is_fixed_size_list(kind):  # a float32 matrix, row by row
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), kind.value_type), type=kind)
    return pa.array(values, kind)


@contextmanager
def write_table(
    lake: Lake,
    artifact: Artifact,
    spec: TableSpec,
    provenance: Mapping[str, Any],
    *,
    widths: Mapping[str, int] | None = None,
    enforced: bool = True,
    replace: bool = True,
) -> Iterator[TableWriter]:
    """Write one parquet artifact; it is published if the block succeeds, and not at all otherwise.

    Args:
        lake: the lake.
        artifact: the artifact to write.
        spec: its columns.
        provenance: its provenance, stored in the footer.
        widths: the widths of the vector columns.
        enforced: whether to refuse an unsound table and changed inputs; false only in tests that corrupt a lake.
        replace: whether to replace an existing artifact.

    Raises:
        ChangedInputError: an input no longer has its fingerprint in the provenance.
        FileExistsError, OvertakenError: the artifact exists and `replace` is false (see `Lake.publish`).
        UnsoundTableError: the rows would corrupt later results (see `statistics.enforce`).
    """
    schema = spec.schema(**(widths or {}))
    plain = [name for name in schema.names if name != "data" and name not in spec.vectors]
    with lake.publish(lake.path(artifact), replace=replace) as temporary:
        parquet = create_parquet(
            temporary,
            schema,
            # Photographs are compressed already, and vectors do not repeat.
            compression={name: "NONE" if name == "data" else "ZSTD" for name in schema.names},
            use_dictionary=plain,
            write_statistics=plain,
        )
        with parquet:
            writer = TableWriter(parquet, spec)
            yield writer
            writer.close(artifact, provenance, enforced=enforced)
        if enforced:
            require_unchanged(lake, provenance)


@contextmanager
def open_quarantine(lake: Lake, artifact: Artifact) -> Iterator[TableWriter]:
    """Open the quarantine table of an artifact, `quarantine/<asset>[/<partition>].parquet`.

    It is published before the artifact, and also if it is empty, so that it is never older than the artifact.
    """
    place = Artifact(f"quarantine/{artifact.asset}", artifact.partition)
    with write_table(lake, place, QUARANTINE, {"asset": str(place)}) as writer:
        yield writer


def add_quarantined(quarantine: TableWriter, rows: list[dict[str, str | None]]) -> None:
    """Add rows to a quarantine table."""
    if rows:
        quarantine.write_rows(**{name: [row[name] for row in rows] for name in QUARANTINE.columns.names})


def write_quarantine(lake: Lake, artifact: Artifact, rows: list[dict[str, str | None]]) -> None:
    """Write and publish the quarantine table of an artifact."""
    with open_quarantine(lake, artifact) as quarantine:
        add_quarantined(quarantine, rows)


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
