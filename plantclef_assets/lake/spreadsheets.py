"""CSV text for people, who open it in a spreadsheet: no cell of it is run as a formula.

What belongs here: every CSV that is made to be looked at. What does not: CSVs with a prescribed form, such as
submissions (`scoring/submission_format.py`), whose readers need the text unchanged.
"""

import csv
from collections.abc import Collection, Iterable, Iterator
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The beginnings of a cell that spreadsheets run as a formula (OWASP, CSV injection)."""


class _Line:
    """A file for `csv.writer` that keeps the last row as text."""

    text = ""

    def write(self, text: str, /) -> None:
        self.text = text


def csv_lines(rows: Iterable[Iterable[Any]], numbers: Collection[int] = ()) -> Iterator[str]:
    """Yield rows as lines of a CSV, each with a line feed; text that a spreadsheet would run gets an apostrophe first.

    Args:
        rows: the cells of each row; a cell that is no text is written as it is.
        numbers: positions of the columns whose text is that of a number.
    """
    line = _Line()
    writer = csv.writer(line)  # with "\r\n" as line end it quotes both characters within cells
    for row in rows:
        writer.writerow([cell if place in numbers else _as_text(cell) for place, cell in enumerate(row)])
        yield line.text.removesuffix("\r\n") + "\n"


def _as_text(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
