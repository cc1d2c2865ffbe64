"""The training metadata: the published CSV, row by row, into a typed table.

The dialect is the organisers': `;` between fields, double quotes, half-empty columns, fields of any length. A CSV of
one's own may use `,` or tabs and needs no more than the columns `image_name` and `species_id`.

Blocks of the file come and go; of each row no more stays in memory than a mark of its name.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from plantclef_assets.lake.schemas import TRAINING_METADATA
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import open_quarantine, write_findings, write_table

BLOCK_BYTES = 8 * 2**20
"""The CSV is read in blocks of this size; a row must fit into one."""

_LONGEST_HEADER = 2**20
_MARK_BYTES = 16
_NEEDED = ("image_name", "species_id")
_NUMBER = r"^\s*[-+]?\d+(\.\d*)?([eE][-+]?\d+)?\s*$"


class MetadataError(ValueError):
    """A metadata file that cannot be read as one."""


def write_training_metadata(lake: Lake, shard: Shard, file: Path) -> None:
    """Parse a training CSV into the table training_metadata; unusable rows go to quarantine.

    A row is set aside when it has the wrong number of fields (`malformed_row`), no image name (`no_image_name`), a
    species_id that is no whole number (`bad_species_id`), or an image name that an earlier row has (`duplicate_name`).
    A number that cannot be read becomes null and is counted in the figures (`unreadable`).

    Raises:
        MetadataError: the file is no CSV in UTF-8, has no row, or lacks a needed column.
    """
    waiting: list[dict[str, str | None]] = []
    unreadable: dict[str, int] = {}
    names = _Names()
    rows_out = quarantined = 0
    with (
        write_table(lake, shard.artifact, TRAINING_METADATA, shard.provenance) as table,
        open_quarantine(lake, shard.artifact) as quarantine,
    ):
        for batch in _read_batches(file, waiting):
            rows, counts = _typed(batch)
            unreadable = {name: unreadable.get(name, 0) + count for name, count in counts.items()}
            usable = _without_unusable(rows, batch, file, names, waiting)
            table.write(usable)
            rows_out += usable.num_rows
            findings, waiting[:] = list(waiting), []
            quarantined += len(findings)
            write_findings(quarantine, findings)
        quarantined += len(waiting)
        write_findings(quarantine, waiting)
        if not rows_out + quarantined:
            raise MetadataError(f"{file} has a header, but no row")
        table.figures = {
            "rows_in": rows_out + quarantined,
            "quarantined": quarantined,
            "unreadable": {name: count for name, count in unreadable.items() if count},
        }


def _read_batches(file: Path, findings: list[dict[str, str | None]]) -> Iterator[pa.RecordBatch]:
    header = _header(file)

    def set_aside(row: csv.InvalidRow) -> str:
        detail = f"{row.actual_columns} fields instead of {row.expected_columns}: {str(row.text)[:200]}"
        findings.append({"source": file.name, "image_name": None, "reason": "malformed_row", "detail": detail})
        return "skip"

    delimiter = _delimiter(header)
    names = [name.strip().strip('"').strip() for name in header.split(delimiter)]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise MetadataError(f"{file} has no column {' and no column '.join(missing)}; it has {', '.join(names)}")
    twice = sorted({name for name in names if names.count(name) > 1} & set(TRAINING_METADATA.columns.names))
    if twice:
        raise MetadataError(f"{file} has several columns {', '.join(twice)}")
    try:
        yield from _rows(file, names, delimiter, set_aside)
    except pa.ArrowInvalid as error:
        raise MetadataError(f"{file} cannot be read as a CSV: {error}") from error


def _rows(file: Path, names: list[str], delimiter: str, set_aside: Any) -> csv.CSVStreamingReader:
    return csv.open_csv(
        file,
        read_options=csv.ReadOptions(block_size=BLOCK_BYTES, column_names=names, skip_rows=1, use_threads=False),
        parse_options=csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=set_aside, ignore_empty_lines=True
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    )


def _header(file: Path) -> str:
    with file.open("rb") as stream:
        line = stream.readline(_LONGEST_HEADER)
    try:
        header = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise MetadataError(f"{file} cannot be read as a CSV: it is not UTF-8 ({error.reason})") from error
    if not header:
        raise MetadataError(f"{file} is empty; a header line with image_name and species_id is needed")
    return header


def _delimiter(header: str) -> str:
    return max(";,\t", key=header.count)


def _typed(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, int]]:
    """Give the columns their types; also counts the values that are there but cannot be read as numbers."""
    arrays, unreadable = [], {}
    for column in TRAINING_METADATA.columns:
        if column.name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, column.type))
            continue
        values = batch.column(column.name)
        if column.type != pa.string():
            readable = pc.match_substring_regex(values, _NUMBER).fill_null(False)
            given = len(values) - values.null_count
            numbers = pc.if_else(readable, values, None).cast(pa.string())
            values = pc.utf8_trim_whitespace(numbers).cast(pa.float64())
            if column.type == pa.int64():  # "5328663.0", as published
                whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53))
                values = pc.if_else(whole.fill_null(False), values, None)
            unreadable[column.name] = given - (len(values) - values.null_count)
        arrays.append(values.cast(column.type))
    return pa.RecordBatch.from_arrays(arrays, names=TRAINING_METADATA.columns.names), unreadable


def _without_unusable(
    rows: pa.RecordBatch,
    published: pa.RecordBatch,
    file: Path,
    names: "_Names",
    findings: list[dict[str, str | None]],
) -> pa.RecordBatch:
    """Leave out the rows that cannot be used, each with a finding."""
    kept: list[bool] = []
    repeated = names.add(rows.column("image_name").to_pylist(), rows.column("species_id").is_valid().to_pylist())
    species = published.column("species_id")
    for index, (name, species_id) in enumerate(
        zip(rows.column("image_name").to_pylist(), rows.column("species_id").to_pylist(), strict=True)
    ):
        if not name:
            reason, detail = "no_image_name", f"species_id {species_id}"
        elif species_id is None:
            reason, detail = "bad_species_id", f"species_id is '{species[index].as_py() or ''}'"
        elif repeated[index]:
            reason, detail = "duplicate_name", "an earlier row has this image name; that one is used"
        else:
            reason, detail = None, None
        kept.append(reason is None)
        if reason:
            findings.append({"source": file.name, "image_name": name, "reason": reason, "detail": detail})
    return rows.filter(pa.array(kept))


class _Names:
    """The image names so far, as marks of 16 bytes: 23 MB for all of PlantCLEF, where the names would be 200."""

    def __init__(self) -> None:
        self._marks = np.empty(0, f"S{_MARK_BYTES}")

    def add(self, names: list[str | None], usable: list[bool]) -> list[bool]:
        """Add the names of usable rows, and say of each row whether an earlier usable one has its name."""
        marks = np.array(
            [hashlib.blake2b((name or "").encode(), digest_size=_MARK_BYTES).digest() for name in names],
            self._marks.dtype,
        )
        added = np.flatnonzero(np.array(usable, bool) & np.array([bool(name) for name in names], bool))
        places = np.searchsorted(self._marks, marks[added])
        known = np.zeros(len(names), bool)
        if len(self._marks):
            known[added] = self._marks[np.minimum(places, len(self._marks) - 1)] == marks[added]
        _, firsts = np.unique(marks[added], return_index=True)
        first = np.zeros(len(names), bool)
        first[added[firsts]] = True
        repeated = known | ~first
        self._marks = np.sort(np.concatenate([self._marks, marks[~repeated]]))
        return repeated.tolist()
