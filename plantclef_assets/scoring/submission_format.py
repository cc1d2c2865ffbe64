"""Submission files of PlantCLEF in both dialects: reading, writing and validation.

2024: separated by semicolons, nothing quoted. 2025 and 2026: separated by commas, everything quoted. Both have one
row per plot, the species as a list such as `[1363875, 1395807]`, and end every line with a line feed. A truth is
written in the same way.
"""

import csv
import errno
import io
import re
import uuid
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from plantclef_assets.images.file_names import normal_plot_id


class SubmissionRow(NamedTuple):
    """The species of one plot, in the order of the file."""

    plot_id: str
    species_ids: list[int]


@dataclass(frozen=True)
class Dialect:
    """The submission format of a year.

    Attributes:
        header: names of the two columns.
        separator: the character between them.
        quoted: whether every field is in double quotes.
    """

    header: tuple[str, str]
    separator: str
    quoted: bool


DIALECTS = {
    "2024": Dialect(("plot_id", "species_ids"), ";", quoted=False),
    "2025": Dialect(("quadrat_id", "species_ids"), ",", quoted=True),
}
"""The dialects by the year that introduced them; 2026 writes as 2025."""

_MOST_SPECIES_ID = 2**63 - 1
_LIST = re.compile(r"\[\s*(?:[0-9]+\s*(?:,\s*[0-9]+\s*)*)?\]")


def parse_submission(text: str) -> list[SubmissionRow]:
    """Read a submission or a truth from its text, with unchanged plot ids; its header determines the dialect.

    Raises:
        ValueError: the header is of no known dialect, or a line is not a plot and a list of species ids. A plot
            that occurs twice is not an error here; `validate_submission` reports it.
    """
    text = text.removeprefix("\ufeff")
    dialect = _detect(re.split(r"[\r\n]", text, maxsplit=1)[0])
    rows: list[SubmissionRow] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.separator)
    try:
        records = [(reader.line_num, fields) for fields in reader if fields]
    except csv.Error as error:
        raise ValueError(f"it is not a CSV: {error}") from error
    for number, fields in records[1:]:
        if len(fields) != 2 or not fields[0].strip() or not _LIST.fullmatch(fields[1].strip()):
            raise ValueError(
                f"line {number} is not a plot and a list such as [1363875, 1395807], "
                f"but {dialect.separator.join(fields)[:80]!r}"
            )
        species_ids = [int(digits) for digits in re.findall(r"[0-9]+", fields[1])]
        impossible = [species_id for species_id in species_ids if not 1 <= species_id <= _MOST_SPECIES_ID]
        if impossible:
            raise ValueError(f"line {number}: {impossible[0]} of plot {fields[0]!r} is not a species id")
        rows.append(SubmissionRow(fields[0], species_ids))
    return rows


def read_submission(path: Path) -> list[SubmissionRow]:
    """Read a submission or a truth from a file in either dialect.

    Raises:
        ValueError: as `parse_submission`, naming the file.
        OSError: the file cannot be read.
    """
    try:
        return parse_submission(path.read_bytes().decode())  # `read_text` would change the ends of lines in names
    except ValueError as error:
        raise ValueError(f"{path} is not a submission: {error}") from error


def read_species_of_plots(path: Path) -> dict[str, list[int]]:
    """Read a submission or a truth from a file in either dialect: plot_id, in its normal form → species_ids.

    Raises:
        ValueError: as `read_submission`, it has no plot, or a plot occurs twice.
        OSError: the file cannot be read.
    """
    species: dict[str, list[int]] = {}
    for name, species_ids in read_submission(path):
        plot_id = normal_plot_id(name)
        if plot_id in species:
            raise ValueError(f"{path} is not a submission: plot {plot_id!r} occurs more than once")
        species[plot_id] = species_ids
    if not species:
        raise ValueError(f"{path} is not a submission: it has a header, but no plot")
    return species


def can_hold(dialect: str, plot_id: str) -> bool:
    """Whether a plot id that is written in a dialect is read back unchanged."""
    row = SubmissionRow(plot_id, [])
    buffer = io.StringIO(newline="")
    try:
        _writer(buffer, dialect).writerows([DIALECTS[dialect].header, (plot_id, "[]")])
        return parse_submission(buffer.getvalue()) == [row]
    except (csv.Error, ValueError):
        return False


def format_submission(rows: Iterable[tuple[str, Iterable[int]]], dialect: str) -> str:
    """Write rows of (plot_id, species_ids) as the text of a submission, in the given order.

    Raises:
        ValueError: an unknown dialect, or a plot_id that this dialect cannot write.
    """
    buffer = io.StringIO(newline="")
    _write(buffer, rows, dialect)
    return buffer.getvalue()


def write_submission(path: Path, rows: Iterable[tuple[str, Iterable[int]]], dialect: str) -> None:
    """Write rows of (plot_id, species_ids) as a submission file, in the given order; the file is complete or absent.

    Raises:
        ValueError: as `format_submission`.
        OSError: the file cannot be written.
    """
    place = path.resolve()
    if place.exists() and not place.is_file():
        raise OSError(errno.EINVAL, "it exists and is not a regular file", str(path))
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            _write(stream, rows, dialect)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def validate_submission(
    rows: Iterable[tuple[str, Iterable[int]]], plots: Collection[str], species: Collection[int]
) -> list[str]:
    """Return the problems of a submission: it needs every plot once, known species only, none twice in a plot.

    An empty list of species is allowed.

    Args:
        rows: (plot_id, species_ids).
        plots: plot_ids that must have a row.
        species: species_ids that are allowed.

    Returns:
        one sentence per problem; empty if the submission is valid.
    """
    rows = [(plot_id, list(species_ids)) for plot_id, species_ids in rows]
    expected, known = set(plots), set(species)
    counts = Counter(plot_id for plot_id, _ in rows)
    problems = [f"plot {plot_id} is missing" for plot_id in sorted(expected - counts.keys())]
    problems += [f"plot {plot_id} is not one of the plots" for plot_id in sorted(counts.keys() - expected)]
    problems += [f"plot {plot_id} occurs {count} times" for plot_id, count in sorted(counts.items()) if count > 1]
    for plot_id, species_ids in rows:
        unknown = sorted(set(species_ids) - known)
        repeated = sorted(species_id for species_id, count in Counter(species_ids).items() if count > 1)
        if unknown:
            problems.append(f"plot {plot_id} names unknown species: {', '.join(map(str, unknown))}")
        if repeated:
            problems.append(f"plot {plot_id} names species more than once: {', '.join(map(str, repeated))}")
    return problems


def _write(stream: TextIO, rows: Iterable[tuple[str, Iterable[int]]], dialect: str) -> None:
    """Write a header and rows; see `format_submission`."""
    if dialect not in DIALECTS:
        raise ValueError(f"unknown dialect {dialect!r}: use one of {', '.join(DIALECTS)}")
    writer = _writer(stream, dialect)
    writer.writerow(DIALECTS[dialect].header)
    for plot_id, species_ids in rows:
        if not can_hold(dialect, plot_id):
            raise ValueError(f"the plot id {plot_id!r} cannot be written in dialect {dialect}; 2025 holds more names")
        species = ", ".join(str(int(species_id)) for species_id in species_ids)
        writer.writerow((plot_id, f"[{species}]"))


def _writer(stream: TextIO, dialect: str) -> Any:
    form = DIALECTS[dialect]
    return csv.writer(
        stream,
        delimiter=form.separator,
        quoting=csv.QUOTE_ALL if form.quoted else csv.QUOTE_NONE,
        quotechar='"' if form.quoted else None,
        lineterminator="\n",
    )


def _detect(header: str) -> Dialect:
    """Return the dialect of a header line; quotes and spaces are ignored."""
    for dialect in DIALECTS.values():
        names = tuple(name.strip().strip('"') for name in header.split(dialect.separator))
        if names == dialect.header:
            return dialect
    known = " or ".join(dialect.separator.join(dialect.header) for dialect in DIALECTS.values())
    raise ValueError(f"its first line is {header[:80]!r}, but should be {known}")
