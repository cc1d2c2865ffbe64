"""CSV files of other tools: their header, and their rows in batches of text.

The form is RFC 4180 with `;`, `,` or tabs between fields. Files that were never quoted are read as well: where a
quotation mark does not enclose a field, it is a letter. A row that cannot be read is given back, never dropped, and
never takes the lines after it along. What a column means does not belong here.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

BLOCK_BYTES = 8 * 2**20
"""A file is read in blocks of this size; a row may not be longer."""
MISSING = ("", "NA", "<NA>", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "\\N")
"""Fields that R, pandas, spreadsheets and databases write for no value; they are read as null."""

_DELIMITERS = (";", ",", "\t")
_HEADER_BYTES = 8 * 2**20
_SAMPLE_ROWS, _SAMPLE_BYTES = 100, 2**20
_SHOWN_NAMES, _SHOWN_LETTERS = 12, 200
_NUMBER_COLUMN = "species_id"
"""The column of numbers that every table of this project has; it tells rows from text."""
_NUMBER = re.compile(rb'[\s"]*[-+]?\d+(?:\.0*)?[\s"]*\Z')
_LONGEST_ID = 18
_NEWLINE = re.compile(rb"\r\n|\r|\n")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+'


class CsvError(ValueError):
    """A file that cannot be read as a CSV."""


class CsvTable:
    """A CSV file: its columns, and its rows.

    Attributes:
        names: the names of all columns, without blanks around them; empty for R's row names.
        rejected: what is wrong with each row so far that does not have one field for each column; whoever reads it may
            empty it.
        literal_quotes: number of rows so far in which a quotation mark does not enclose a field and is a letter.
        has_row_names: whether the rows have one field more than the header, in front, as R's `write.table` makes them.
    """

    def __init__(
        self, file: Path, columns: Sequence[str], needed: Sequence[str] = (), *, header: Sequence[str] | None = None
    ) -> None:
        """Read the header of a file.

        Args:
            file: the file, UTF-8 with or without a byte order mark.
            columns: the columns to read, where they are there.
            needed: those of them that have to be there.
            header: the names of the columns of a file that has no header line.

        Raises:
            CsvError: it is no text in UTF-8, it is empty, a needed column is not there, or a column is there twice.
            OSError: it cannot be read.
        """
        self._file = file
        self.rejected: list[str] = []
        self.literal_quotes = 0
        self.has_row_names = False
        head = self._head()
        found = {delimiter: _header(head, delimiter) for delimiter in _DELIMITERS}
        usable = [one for one in _DELIMITERS if set(needed) <= set(_names(found[one][0]))]
        delimiter = max(usable or _DELIMITERS, key=lambda one: len(found[one][0]))
        fields, end = found[delimiter]
        self._form = _Form(delimiter)
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
            CsvError: a value is no text in UTF-8.
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
        if head.startswith(_UTF16) or b"\0" in _NEWLINE.split(head[:1000], maxsplit=1)[0]:
            raise CsvError(f"{self._file} cannot be read as a CSV: it is UTF-16, or no text; save it as CSV in UTF-8")
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
        self._start = len(head) - len(text)
        if len(head) == _HEADER_BYTES and not _NEWLINE.search(text):
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
        """Add a column without a name where the rows have one field more than the header."""
        lines = _NEWLINE.split(rows[:_SAMPLE_BYTES], maxsplit=_SAMPLE_ROWS)[:_SAMPLE_ROWS]
        sample = [self._form.fields(line) for line in lines if line]
        wider = [fields for fields in sample if len(fields) == len(self.names) + 1]
        if len(wider) <= len(sample) / 2:
            return
        number = self.names.index(_NUMBER_COLUMN) if _NUMBER_COLUMN in self.names else None
        if number is not None and all(_NUMBER.match(fields[number + 1]) for fields in wider):
            self.names.insert(0, "")
            self.has_row_names = True
        elif all(not fields[-1] for fields in wider):
            self.names.append("")  # a delimiter at the end of each row

    def _blocks(self) -> Iterator[tuple[bytes, bool]]:
        """Yield blocks of whole rows that are valid RFC 4180, each with whether it was repaired."""
        rest, skipping, final = b"", False, False
        with self._file.open("rb") as stream:
            stream.seek(self._start)
            while not final:
                data = stream.read(BLOCK_BYTES)
                final = len(data) < BLOCK_BYTES
                block = rest + data
                if skipping:
                    newline = _NEWLINE.search(block)
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
        """Parse whole rows; also gives text and number of fields of those that have too few or too many."""
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
        """Go through a block line by line: keep what is RFC 4180, quote anew what is not, reject what has no reading.

        Returns:
            whole rows; the rest of the block, for the next one; and whether the block ends in a line that is too long.
        """
        kept: list[bytes] = []
        place = 0
        while place < len(block):
            plain_end = _plain_end(block, place, final=final)
            kept.append(block[place:plain_end])
            place = plain_end
            if place == len(block):
                break
            newline = _NEWLINE.search(block, place)
            end = self._form.record_end(block, place, len(self.names), self._number)
            if not final and (
                newline is None or end == len(block) or (end is None and self._form.is_open(block, place))
            ):
                if place or len(block) <= BLOCK_BYTES:
                    break  # the next block has the rest of it
                end = None
            if end is not None:
                after = _NEWLINE.match(block, end)
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
        """Quote a line anew, or reject it: nothing is left then."""
        fields = self._form.fields(line)
        if len(fields) != len(self.names) and self._is_unquoted(line.decode(errors="replace")):
            fields = self._form.unquoted_fields(line)
        if len(fields) != len(self.names):
            self._reject(_shown(line), len(fields))
            return b""
        self.literal_quotes += 1
        return self._form.quoted(fields)

    def _is_unquoted(self, text: str) -> bool:
        """Whether a row of a file with tabs has the right number of fields if quotation marks enclose nothing."""
        return self._form.delimiter == "\t" and '"' in text and text.count("\t") == len(self.names) - 1

    def _reject(self, text: str, fields: int) -> None:
        self.rejected.append(f"{fields} fields instead of {len(self.names)}: {text[:_SHOWN_LETTERS]}")


class _Form:
    """The form of a CSV: its delimiter, and the expressions that follow from it."""

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        self._byte = delimiter.encode()
        between = re.escape(self._byte)
        field = rb"(?:" + _QUOTED + rb'"|[^"\r\n' + between + rb"]*+)"
        self._record = re.compile(field + rb"(?:" + between + field + rb")*+(?=\r|\n|\Z)")
        self._open = re.compile(rb"(?:" + field + between + rb")*+" + _QUOTED + rb"\Z")
        self._field = re.compile(rb'(?: *("[^"]*+(?:""[^"]*+)*+"))?([^' + between + rb"]*+)")
        self._enclosed = re.compile(_QUOTED + rb'"')
        self._beside_quotes = np.zeros(256, bool)
        self._beside_quotes[[ord(delimiter), ord("\n"), ord("\r"), ord('"')]] = True

    def strict_end(self, block: bytes, *, final: bool) -> int | None:
        """Return the end of the whole rows of a block that is RFC 4180 without line breaks in fields; else None."""
        letters = np.frombuffer(block, np.uint8)
        quotes = np.flatnonzero(letters == ord('"'))
        lines = np.flatnonzero((letters == ord("\n")) | (letters == ord("\r")))
        end = len(block) if final else int(lines[-1]) + 1 if len(lines) else 0
        quotes = quotes[: np.searchsorted(quotes, end)]
        if (np.searchsorted(quotes, lines) % 2).any() or len(quotes) % 2 or (block and not end):
            return None
        before, after = quotes[0::2] - 1, quotes[1::2] + 1
        before, after = before[before >= 0], after[after < len(block)]
        sound = self._beside_quotes[letters[before]].all() and self._beside_quotes[letters[after]].all()
        return end if sound else None

    def record_end(self, block: bytes, place: int, width: int | None, number: int | None = None) -> int | None:
        """Return where the row of RFC 4180 ends that begins at `place`; None if there is none.

        There is none where quotation marks enclose nothing: most lines that they span are rows of `width` fields
        themselves, with a number as the field `number` (without one: all lines), or tabs within them are needed for
        `width` fields.
        """
        record = self._record.match(block, place)
        if record is None:
            return None
        if self.delimiter != "\t" and not _NEWLINE.search(record.group()):
            return record.end()  # whoever parses it counts its fields
        lines = [self.unquoted_fields(line) for line in _NEWLINE.split(record.group())]
        if len(lines) > 1:
            fitting = [fields for fields in lines if len(fields) == (width or len(lines[0]))]
            if number is None and len(fitting) == len(lines):
                return None
            if number is not None and 2 * sum(bool(_NUMBER.match(fields[number])) for fields in fitting) > len(lines):
                return None
        if width is not None and len(self.fields(record.group())) != width:
            return None
        return record.end()

    def is_open(self, block: bytes, place: int) -> bool:
        """Whether a quoted field of the row that begins at `place` goes on beyond the block."""
        return self._open.match(block, place) is not None

    def fields(self, line: bytes) -> list[bytes]:
        """Return the fields of a row; a quotation mark that encloses nothing is a letter."""
        fields: list[bytes] = []
        place = 0
        while True:
            field = self._field.match(line, place)
            assert field is not None
            fields.append((field[1] or b"")[1:-1].replace(b'""', b'"') + field[2])
            if field.end() == len(line):
                return fields
            place = field.end() + 1

    def unquoted_fields(self, line: bytes) -> list[bytes]:
        """Return the fields of a row in which no quotation mark encloses a delimiter."""
        return [
            field[1:-1].replace(b'""', b'"') if self._enclosed.fullmatch(field) else field
            for field in line.split(self._byte)
        ]

    def quoted(self, fields: Sequence[bytes]) -> bytes:
        """Return a row of these fields, as RFC 4180 has it."""
        return self._byte.join(b'"' + field.replace(b'"', b'""') + b'"' for field in fields) + b"\n"


def _header(head: bytes, delimiter: str) -> tuple[list[bytes], int]:
    """Return the fields of the first row, and where the next one begins."""
    form = _Form(delimiter)
    end = form.record_end(head, 0, None)
    newline = _NEWLINE.search(head)
    if end is None:
        end = newline.start() if newline else len(head)
    after = _NEWLINE.match(head, end)
    return form.fields(head[:end]), after.end() if after else end


def _names(fields: Sequence[bytes]) -> list[str]:
    return [field.decode(errors="replace").strip() for field in fields]


def _plain_end(block: bytes, place: int, *, final: bool) -> int:
    """Return the end of the whole lines from `place` on that have no quotation mark."""
    quote = block.find(b'"', place)
    if quote < 0 and final:
        return len(block)
    bound = quote if quote >= 0 else len(block)
    return max(block.rfind(b"\n", place, bound), block.rfind(b"\r", place, bound), place - 1) + 1


def _shown(line: bytes) -> str:
    return line[: 4 * _SHOWN_LETTERS].decode(errors="replace")[:_SHOWN_LETTERS]


def read_species_id(text: str | None) -> int | None:
    """Read a species_id, a whole number from 1 on that fits into int64; None if the text is no such number."""
    text = (text or "").strip()
    return int(text) if len(text) <= _LONGEST_ID and text.isdecimal() and int(text) else None
