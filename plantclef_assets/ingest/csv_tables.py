"""CSV files of other programs: their header, and their rows in batches of strings.

An unreadable row is reported, never dropped silently, and never affects the lines after it. What belongs here: files,
blocks and columns. What does not: where a row ends and how it is quoted (`csv_form.py`), and what a column means.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv

from plantclef_assets.ingest.csv_form import NEWLINE, NUMBER, CsvForm, plain_end, split_header

BLOCK_BYTES = 8 * 2**20
"""Files are read in blocks of this size; it is also the maximum length of a row."""
MISSING = ("", "NA", "<NA>", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "\\N")
"""Fields that R, pandas, spreadsheets and databases write for a missing value; they are read as null."""

_DELIMITERS = (";", ",", "\t")
_HEADER_BYTES = 8 * 2**20
_SAMPLE_ROWS, _SAMPLE_BYTES = 100, 2**20
_SHOWN_NAMES, _SHOWN_LETTERS = 12, 200
_NUMBER_COLUMN = "species_id"
"""The number column of all CSV files of this project; it distinguishes rows from the text of a quoted field."""
_LONGEST_ID = 18
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class CsvError(ValueError):
    """The file cannot be read as a CSV."""


class CsvTable:
    """The columns and rows of a CSV file.

    Attributes:
        names: the names of all columns, stripped; empty for R's row names.
        rejected: a description of each row so far that does not have one field per column; callers may clear it.
        literal_quotes: number of rows so far with quotation marks that do not enclose a field and are read as letters.
        has_row_names: whether the rows begin with one field more than the header, as written by R's `write.table`.
    """

    def __init__(
        self, file: Path, columns: Sequence[str], needed: Sequence[str] = (), *, header: Sequence[str] | None = None
    ) -> None:
        """Read the header of a file.

        Args:
            file: the file, UTF-8 with or without a byte order mark.
            columns: the columns to read, if present.
            needed: the columns that must be present.
            header: the column names of a file without a header line.

        Raises:
            CsvError: the file is not UTF-8 text, it is empty, a needed column is missing, or a column occurs twice.
            OSError: the file cannot be read.
        """
        self._file = file
        self.rejected: list[str] = []
        self.literal_quotes = 0
        self.has_row_names = False
        head = self._head()
        found = {delimiter: split_header(head, delimiter) for delimiter in _DELIMITERS}
        usable = [one for one in _DELIMITERS if set(needed) <= set(_names(found[one][0]))]
        delimiter = max(usable or _DELIMITERS, key=lambda one: len(found[one][0]))
        fields, end = found[delimiter]
        self._form = CsvForm(delimiter)
        self.names = _names(fields) if header is None else list(header)
        self._require(columns, needed)
        if header is None:
            self._start += end
            self._match_width(head[end:])
        self._columns = columns
        self._number = self.names.index(_NUMBER_COLUMN) if _NUMBER_COLUMN in self.names else None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in file order, all columns as strings; missing values are null.

        Raises:
            CsvError: a value is not UTF-8 text.
            OSError: the file cannot be read.
        """
        names = [name if name in self._columns else f"\0{place}" for place, name in enumerate(self.names)]
        wanted = [name for name in names if not name.startswith("\0")]
        for block, repaired in self._blocks():
            table, rejected = self._parse(block, names, wanted)
            if not repaired and any(self._is_unquoted(text) for text, _ in rejected):
                table, rejected = self._parse(self._repair(block, final=True)[0], names, wanted)
            for text, fields in rejected:
                self._reject(text, fields)
            yield from table.to_batches()

    def _head(self) -> bytes:
        with self._file.open("rb") as stream:
            head = stream.read(_HEADER_BYTES)
        if head.startswith(_UTF16) or b"\0" in NEWLINE.split(head[:1000], maxsplit=1)[0]:
            raise CsvError(f"{self._file} cannot be read as a CSV: it is UTF-16 or not text; save it as CSV in UTF-8")
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
        self._start = len(head) - len(text)
        if len(head) == _HEADER_BYTES and not NEWLINE.search(text):
            raise CsvError(f"{self._file} cannot be read as a CSV: its first line is longer than 8 MiB")
        return text

    def _require(self, columns: Sequence[str], needed: Sequence[str]) -> None:
        if self.names == [""] and needed:
            raise CsvError(f"{self._file} is empty; a header line with {' and '.join(needed)} is needed")
        missing = [name for name in needed if name not in self.names]
        if missing:
            shown = ", ".join(name[:80] for name in self.names[:_SHOWN_NAMES])
            more = f" and {len(self.names) - _SHOWN_NAMES:,} more" if len(self.names) > _SHOWN_NAMES else ""
            raise CsvError(f"{self._file} has no column {' and no column '.join(missing)}; it has {shown}{more}")
        counts = Counter(self.names)
        twice = [name for name in columns if counts[name] > 1]
        if twice:
            raise CsvError(f"{self._file} has several columns {', '.join(twice)}")

    def _match_width(self, rows: bytes) -> None:
        """Add a column without a name if the rows have one field more than the header."""
        lines = NEWLINE.split(rows[:_SAMPLE_BYTES], maxsplit=_SAMPLE_ROWS)[:_SAMPLE_ROWS]
        sample = [self._form.fields(line) for line in lines if line]
        wider = [fields for fields in sample if len(fields) == len(self.names) + 1]
        if len(wider) <= len(sample) / 2:
            return
        number = self.names.index(_NUMBER_COLUMN) if _NUMBER_COLUMN in self.names else None
        if number is not None and all(NUMBER.match(fields[number + 1]) for fields in wider):
            self.names.insert(0, "")
            self.has_row_names = True
        elif all(not fields[-1] for fields in wider):
            self.names.append("")  # a delimiter at the end of each row

    def _blocks(self) -> Iterator[tuple[bytes, bool]]:
        """Yield blocks of complete rows in valid RFC 4180, each with a flag that is true if it was repaired."""
        rest, skipping, final = b"", False, False
        with self._file.open("rb") as stream:
            stream.seek(self._start)
            while not final:
                data = stream.read(BLOCK_BYTES)
                final = len(data) < BLOCK_BYTES
                block = rest + data
                if skipping:
                    newline = NEWLINE.search(block)
                    skipping, block = newline is None, block[newline.end() :] if newline else b""
                end = self._form.strict_end(block, final=final)
                repaired = end is None
                if end is None:
                    block, rest, skipping = self._repair(block, final=final)
                else:
                    block, rest = block[:end], block[end:]
                if block.strip(b"\r\n"):
                    yield block, repaired

    def _parse(self, block: bytes, names: list[str], wanted: list[str]) -> tuple[pa.Table, list[tuple[str, int]]]:
        """Parse complete rows; also return text and field count of the rows with too few or too many fields."""
        rejected: list[tuple[str, int]] = []
        try:
            block.decode()
        except UnicodeDecodeError as error:
            shown = block[max(error.start - 20, 0) : error.end + 20].decode(errors="replace")
            raise CsvError(
                f"{self._file} cannot be read as a CSV: it is not UTF-8 at {shown!r}; save it as UTF-8"
            ) from error

        def reject(row: csv.InvalidRow) -> str:
            rejected.append((str(row.text), row.actual_columns))
            return "skip"

        try:
            table = csv.read_csv(
                pa.BufferReader(block),
                csv.ReadOptions(block_size=len(block) + 1, column_names=names, use_threads=False),
                csv.ParseOptions(delimiter=self._form.delimiter, newlines_in_values=True, invalid_row_handler=reject),
                csv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(wanted, pa.string()),
                    null_values=list(MISSING),
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            raise CsvError(f"{self._file} cannot be read as a CSV: {error}") from error
        return table, rejected

    def _repair(self, block: bytes, *, final: bool) -> tuple[bytes, bytes, bool]:
        """Repair a block line by line: keep RFC 4180 rows, requote other rows, reject unreadable ones.

        Returns:
            complete rows; the rest of the block, to be joined with the next one; and whether the block ends in a line
            that is too long.
        """
        kept: list[bytes] = []
        place = 0
        while place < len(block):
            plain = plain_end(block, place, final=final)
            kept.append(block[place:plain])
            place = plain
            if place == len(block):
                break
            newline = NEWLINE.search(block, place)
            end = self._form.record_end(block, place, len(self.names), self._number)
            if not final and (
                newline is None or end == len(block) or (end is None and self._form.is_open(block, place))
            ):
                if place or len(block) <= BLOCK_BYTES:
                    break  # the next block contains the rest of it
                end = None
            if end is not None:
                after = NEWLINE.match(block, end)
                kept.append(block[place:end] + b"\n")
                place = after.end() if after else end
            elif newline is None and not final:
                self.rejected.append(f"longer than {BLOCK_BYTES:,} bytes: {_shown(block[place:])}")
                return b"".join(kept), b"", True
            else:
                line = block[place : newline.start() if newline else len(block)]
                kept.append(self._repaired(line))
                place = newline.end() if newline else len(block)
        return b"".join(kept), block[place:], False

    def _repaired(self, line: bytes) -> bytes:
        """Return a line requoted, or nothing if it is rejected."""
        fields = self._form.fields(line)
        if len(fields) != len(self.names) and self._is_unquoted(line.decode(errors="replace")):
            fields = self._form.unquoted_fields(line)
        if len(fields) != len(self.names):
            self._reject(_shown(line), len(fields))
            return b""
        self.literal_quotes += 1
        return self._form.quoted(fields)

    def _is_unquoted(self, text: str) -> bool:
        """Whether a row of a tab-separated file has the right number of fields if quotation marks are letters."""
        return self._form.delimiter == "\t" and '"' in text and text.count("\t") == len(self.names) - 1

    def _reject(self, text: str, fields: int) -> None:
        self.rejected.append(f"{fields} fields instead of {len(self.names)}: {text[:_SHOWN_LETTERS]}")


def _names(fields: Sequence[bytes]) -> list[str]:
    return [field.decode(errors="replace").strip() for field in fields]


def _shown(line: bytes) -> str:
    return line[: 4 * _SHOWN_LETTERS].decode(errors="replace")[:_SHOWN_LETTERS]


def read_species_id(text: str | None) -> int | None:
    """Return a species_id, a positive int64, or None if the text is not one."""
    text = (text or "").strip()
    return int(text) if len(text) <= _LONGEST_ID and text.isdecimal() and int(text) else None
