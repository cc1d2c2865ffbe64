"""The form of CSV rows: where a row ends, which fields it has, and how a row is quoted.

The form is RFC 4180 with `;`, `,` or tabs between fields. In rows that were never quoted, a quotation mark that does
not enclose a field is a letter. What belongs here: rows as bytes. What does not: files and columns (`csv_tables.py`).
"""

import re
from collections.abc import Sequence

import numpy as np

NEWLINE = re.compile(rb"\r\n|\r|\n")
NUMBER = re.compile(rb'[\s"]*[-+]?\d+(?:\.0*)?[\s"]*\Z')
"""A field that holds a whole number."""

_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+'


class CsvForm:
    """The form of a CSV file: its delimiter, and the regular expressions derived from it."""

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
        """Return the end of the complete rows of a block; None unless it is RFC 4180 without line breaks in fields."""
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
        """Return the end of the RFC 4180 row that begins at `place`; None if the text there is not such a row.

        Quotation marks are taken for letters, and the result is None, if most lines that they span are rows of `width`
        fields themselves, with a number as the field `number` (if `number` is None: all lines), or if the tabs between
        the quotation marks are needed for `width` fields.
        """
        record = self._record.match(block, place)
        if record is None:
            return None
        if self.delimiter != "\t" and not NEWLINE.search(record.group()):
            return record.end()  # the parser counts its fields
        lines = [self.unquoted_fields(line) for line in NEWLINE.split(record.group())]
        if len(lines) > 1:
            fitting = [fields for fields in lines if len(fields) == (width or len(lines[0]))]
            if number is None and len(fitting) == len(lines):
                return None
            if number is not None and 2 * sum(bool(NUMBER.match(fields[number])) for fields in fitting) > len(lines):
                return None
        if width is not None and len(self.fields(record.group())) != width:
            return None
        return record.end()

    def is_open(self, block: bytes, place: int) -> bool:
        """Whether a quoted field of the row that begins at `place` continues beyond the block."""
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
        """Return the fields as a quoted RFC 4180 row."""
        return self._byte.join(b'"' + field.replace(b'"', b'""') + b'"' for field in fields) + b"\n"


def split_header(head: bytes, delimiter: str) -> tuple[list[bytes], int]:
    """Return the fields of the first row and the position of the next row."""
    form = CsvForm(delimiter)
    end = form.record_end(head, 0, None)
    newline = NEWLINE.search(head)
    if end is None:
        end = newline.start() if newline else len(head)
    after = NEWLINE.match(head, end)
    return form.fields(head[:end]), after.end() if after else end


def plain_end(block: bytes, place: int, *, final: bool) -> int:
    """Return the end of the complete lines without quotation marks that start at `place`."""
    quote = block.find(b'"', place)
    if quote < 0 and final:
        return len(block)
    bound = quote if quote >= 0 else len(block)
    return max(block.rfind(b"\n", place, bound), block.rfind(b"\r", place, bound), place - 1) + 1
