"""The training metadata: the published CSV, row by row, into a typed table.

A CSV of one's own needs no more than the columns `image_name` and `species_id`; how it may be written is said in
`csv_tables`.

Blocks of the file come and go; of each row no more stays in memory than a mark of its name.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.ingest.csv_tables import MISSING, CsvError, CsvTable
from plantclef_assets.lake.schemas import TRAINING_METADATA
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import add_quarantined, open_quarantine, write_table

_MARK_BYTES = 16
_NEEDED = ("image_name", "species_id")
_KEYS = ("obs_id", "learn_tag")
"""Columns whose values are compared: blanks around them are no part of them."""
_NUMBER = r"^\s*[-+]?\d+(\.\d*)?([eE][-+]?\d+)?\s*$"
_REASONS = {
    "malformed_row": "do not have one field for each column of the header",
    "no_image_name": "have no image_name",
    "bad_species_id": "have no whole number from 1 on as species_id",
}


class MetadataError(ValueError):
    """A metadata file that cannot be read as one."""


def write_training_metadata(
    lake: Lake, shard: Shard, file: Path, log: Callable[[str], object] = lambda line: None
) -> None:
    """Parse a training CSV into the table training_metadata; unusable rows go to quarantine.

    A row is quarantined when it has the wrong number of fields (`malformed_row`), no image name (`no_image_name`), a
    species_id that is no whole number from 1 on (`bad_species_id`), or an image name that an earlier row has
    (`duplicate_name`). A number that cannot be read becomes null and is counted in the statistics (`unreadable`).

    Args:
        lake: where to write.
        shard: what to write.
        file: the CSV.
        log: takes a sentence for each way in which the file departs from RFC 4180.

    Raises:
        MetadataError: the file is no CSV in UTF-8, has no usable row, or lacks a needed column.
    """
    try:
        reading = CsvTable(file, TRAINING_METADATA.columns.names, _NEEDED)
        _write(lake, shard, file, reading)
    except CsvError as error:
        raise MetadataError(str(error)) from error
    if reading.has_row_names:
        log(f"The rows of {file} have one field more than the header; the first is read as R's row name.")
    if reading.literal_quotes:
        log(
            f"{file} has quotation marks that do not enclose a field (RFC 4180), in {reading.literal_quotes:,} of its "
            "rows: they are read as letters."
        )


def _write(lake: Lake, shard: Shard, file: Path, reading: CsvTable) -> None:
    findings: list[dict[str, str | None]] = []
    unreadable: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    names = _Names()
    rows_out = 0
    with (
        write_table(lake, shard.artifact, TRAINING_METADATA, shard.provenance) as table,
        open_quarantine(lake, shard.artifact) as quarantine,
    ):

        def set_aside() -> None:
            for detail in reading.rejected:
                findings.append(_finding(file, None, "malformed_row", detail))
            reading.rejected.clear()
            add_quarantined(quarantine, findings)
            for one in findings:
                reason = one["reason"] or ""
                reasons[reason] += 1
                examples.setdefault(reason, one["detail"] or "")
            findings.clear()

        for batch in reading.batches():
            rows, counts = _typed(batch)
            unreadable.update(counts)
            usable = _without_unusable(rows, batch, file, names, findings)
            table.write(usable)
            rows_out += usable.num_rows
            set_aside()
        set_aside()
        if not rows_out:
            raise MetadataError(_nothing_usable(file, reasons, examples))
        table.statistics = {
            "rows_in": rows_out + reasons.total(),
            "quarantined": reasons.total(),
            "unreadable": {name: count for name, count in unreadable.items() if count},
        }


def _nothing_usable(file: Path, reasons: Counter[str], examples: dict[str, str]) -> str:
    if not reasons:
        return f"{file} has a header, but no row"
    reason, count = reasons.most_common(1)[0]
    return (
        f"none of the {reasons.total():,} rows of {file} can be used: {count:,} {_REASONS[reason]}, for example: "
        f"{examples[reason]}; correct the file or set PLANTCLEF_TRAINING_METADATA to another"
    )


def _finding(file: Path, name: str | None, reason: str, detail: str) -> dict[str, str | None]:
    return {"source": file.name, "image_name": name, "reason": reason, "detail": detail}


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
                if column.name == "species_id":
                    whole = pc.and_(whole, pc.greater_equal(values, 1.0))
                values = pc.if_else(whole.fill_null(False), values, None)
            if column.name != "species_id":  # a row without one is quarantined
                unreadable[column.name] = given - (len(values) - values.null_count)
        elif column.name in _KEYS:
            values = pc.utf8_trim_whitespace(values)
            values = pc.if_else(pc.is_in(values, pa.array(MISSING)), None, values)
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
        if not (name or "").strip():
            reason, detail = "no_image_name", f"species_id {species_id}"
        elif species_id is None:
            reason, detail = "bad_species_id", f"species_id is '{species[index].as_py() or ''}'"
        elif repeated[index]:
            reason, detail = "duplicate_name", "an earlier row has this image name; that one is used"
        else:
            reason, detail = None, None
        kept.append(reason is None)
        if reason:
            findings.append(_finding(file, name, reason, detail or ""))
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
