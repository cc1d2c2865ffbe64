"""Writing a table: batches in, one published parquet file with its record out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from plantclef_assets.lake.fingerprints import Fingerprint
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.parquet_files import create_parquet
from plantclef_assets.lake.schemas import QUARANTINE
from plantclef_assets.lake.statistics import Figures, UnsoundTableError, enforce
from plantclef_assets.lake.store import Artifact, Lake, record_metadata
from plantclef_assets.lake.table_specs import TableSpec

ROW_GROUP_BYTES = 64 * 2**20
"""Rows are gathered into row groups of about this size: large enough to read fast, small enough for memory."""


class TableWriter:
    """Takes batches, gathers them into row groups, and counts and hashes their rows."""

    def __init__(self, writer: pq.ParquetWriter, spec: TableSpec) -> None:
        self._writer = writer
        self._spec = spec
        self._counted = Figures(spec)
        self._fingerprint = Fingerprint()
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self.figures: dict[str, Any] = {}
        """Figures of the caller's own, stored beside those that are counted."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Raises:
            UnsoundTableError: a required value is null.
        """
        for name in self._spec.required:
            if name in batch.schema.names and batch.column(name).null_count:
                raise UnsoundTableError(f"{batch.column(name).null_count} rows have no {name}, which may not be null")
        batch = batch.cast(self._writer.schema)
        self._counted.update(batch)
        self._fingerprint.update(batch)
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def write_rows(self, **columns: Any) -> None:
        """Add rows given as columns by name; a column that is not given is null."""
        length = len(next(iter(columns.values())))
        schema = self._writer.schema
        arrays = [
            _array(columns[column.name], column.type) if column.name in columns else pa.nulls(length, column.type)
            for column in schema
        ]
        self.write(pa.RecordBatch.from_arrays(arrays, schema=schema))

    def close(self, artifact: Artifact, provenance: Mapping[str, Any], *, enforced: bool) -> None:
        """Write what waits and the record."""
        self._flush()
        figures = self._counted.result() | self.figures
        if enforced:
            enforce(artifact, figures)
        record = record_metadata(provenance, self._fingerprint.digest(), figures)
        self._writer.add_key_value_metadata(record)
        self._writer.close()

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
    """Write one parquet artifact; it appears whole when the block ends well, and not at all otherwise.

    Args:
        lake: where to write.
        artifact: what to write; an artifact that exists is replaced in one step, if it may be replaced.
        spec: its columns.
        provenance: what it is made from, stored in the footer.
        widths: the widths of the vector columns.
        enforced: whether an unsound table is refused, and one whose inputs have changed; only tests that damage a lake
            say no.
        replace: whether an artifact that exists is replaced.

    Raises:
        ChangedInputError: an input is no longer the one that the provenance names.
        FileExistsError, OvertakenError: there is one, and it may not be replaced (see `Lake.publish`).
        UnsoundTableError: the rows would make later work wrong (see `figures.enforce`).
    """
    schema = spec.schema(**(widths or {}))
    plain = [name for name in schema.names if name != "data" and name not in spec.vectors]
    with lake.publish(lake.path(artifact), replace=replace) as temporary:
        parquet = create_parquet(
            temporary,
            schema,
            # Photographs are compressed already, and no two vectors are alike.
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
    """Take what is set aside while an artifact is made, for `quarantine/<asset>[/<partition>].parquet`.

    It is published before the artifact itself, and also where nothing was set aside, so that it is never older.
    """
    place = Artifact(f"quarantine/{artifact.asset}", artifact.partition)
    with write_table(lake, place, QUARANTINE, {"asset": str(place)}) as writer:
        yield writer


def write_findings(quarantine: TableWriter, findings: list[dict[str, str | None]]) -> None:
    """Add what was set aside to a quarantine table."""
    if findings:
        quarantine.write_rows(**{name: [one[name] for one in findings] for name in QUARANTINE.columns.names})


def write_quarantine(lake: Lake, artifact: Artifact, findings: list[dict[str, str | None]]) -> None:
    """Publish all that was set aside while an artifact was made."""
    with open_quarantine(lake, artifact) as quarantine:
        write_findings(quarantine, findings)
