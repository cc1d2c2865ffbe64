"""The training metadata: from the published CSV to a typed table.

Other CSV files need only the columns `image_name` and `species_id`; `csv_tables` and `csv_form` document the accepted
forms. The file is read in blocks; only a hash of each image name stays in memory.
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
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import Shard, add_quarantined, open_quarantine, write_table

_HASH_BYTES = 16
_NEEDED = ("image_name", "species_id")
_KEYS = ("obs_id", "learn_tag")
"""Columns whose values are compared: surrounding blanks are stripped."""
_NUMBER = r"^\s*[-+]?\d+(\.\d*)?([eE][-+]?\d+)?\s*$"
_REASONS = {
    "malformed_row": "do not have one field for each column of the header",
    "no_image_name": "have no image_name",
    "bad_species_id": "have no whole number from 1 on as species_id",
}


class MetadataError(ValueError):
    """The metadata file cannot be read."""


def write_training_metadata(
    lake: Lake, shard: Shard, file: Path, log: Callable[[str], object] = lambda line: None
) -> None:
    """Parse a training CSV into the table training_metadata; unusable rows go to quarantine.

    A row is quarantined if it has the wrong number of fields (`malformed_row`), no image name (`no_image_name`), a
    species_id that is not a positive integer (`bad_species_id`), or the image name of an earlier row
    (`duplicate_name`). An unreadable number becomes null and is counted in the statistics (`unreadable`).

    Args:
        lake: the lake.
        shard: the artifact to write.
        file: the CSV.
        log: called with a sentence for each deviation of the file from RFC 4180.

    Raises:
        MetadataError: the file is not a CSV in UTF-8, has no usable row, or lacks a needed column.
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
    quarantined: list[dict[str, str | None]] = []
    unreadable: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    names = _Names()
    rows_out = 0
    with (
        write_table(lake, shard.artifact, TRAINING_METADATA, shard.provenance) as table,
        open_quarantine(lake, shard.artifact) as quarantine,
    ):

        def flush_quarantined() -> None:
            for detail in reading.rejected:
                quarantined.append(_quarantined(file, None, "malformed_row", detail))
            reading.rejected.clear()
            add_quarantined(quarantine, quarantined)
            for one in quarantined:
                reason = one["reason"] or ""
                reasons[reason] += 1
                examples.setdefault(reason, one["detail"] or "")
            quarantined.clear()

        for batch in reading.batches():
            rows, counts = _typed(batch)
            unreadable.update(counts)
            usable = _without_unusable(rows, batch, file, names, quarantined)
            table.write(usable)
            rows_out += usable.num_rows
            flush_quarantined()
        flush_quarantined()
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


def _quarantined(file: Path, name: str | None, reason: str, detail: str) -> dict[str, str | None]:
    return {"source": file.name, "image_name": name, "reason": reason, "detail": detail}


def _typed(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, int]]:
    """Convert the columns to their types; also return the number of unreadable numbers by column."""
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
    quarantined: list[dict[str, str | None]],
) -> pa.RecordBatch:
    """Return the usable rows; the others are added to `quarantined`."""
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
            quarantined.append(_quarantined(file, name, reason, detail or ""))
    return rows.filter(pa.array(kept))


class _Names:
    """The image names so far, as hashes of 16 bytes: 23 MB for all of PlantCLEF; the names would take 200 MB."""

    def __init__(self) -> None:
        self._hashes = np.empty(0, f"S{_HASH_BYTES}")

    def add(self, names: list[str | None], usable: list[bool]) -> list[bool]:
        """Add the names of usable rows; return for each row whether an earlier usable row has its name."""
        hashes = np.array(
            [hashlib.blake2b((name or "").encode(), digest_size=_HASH_BYTES).digest() for name in names],
            self._hashes.dtype,
        )
        added = np.flatnonzero(np.array(usable, bool) & np.array([bool(name) for name in names], bool))
        places = np.searchsorted(self._hashes, hashes[added])
        known = np.zeros(len(names), bool)
        if len(self._hashes):
            known[added] = self._hashes[np.minimum(places, len(self._hashes) - 1)] == hashes[added]
        _, firsts = np.unique(hashes[added], return_index=True)
        first = np.zeros(len(names), bool)
        first[added[firsts]] = True
        repeated = known | ~first
        self._hashes = np.sort(np.concatenate([self._hashes, hashes[~repeated]]))
        return repeated.tolist()
