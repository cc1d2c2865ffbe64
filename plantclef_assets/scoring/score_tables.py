"""Tables of per-class scores of plots, from any classifier: reading, and choosing the species of each plot.

A table is a CSV separated by semicolons: a header `image_name;<species_id>;<species_id>;…`, and one row per plot. It is
read row by row, so memory stays that of one row with thousands of plots × thousands of species.
"""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from plantclef_assets.images.file_names import last_part, normal_plot_id
from plantclef_assets.scoring.submission_format import SubmissionRow

_NAME_COLUMN = "image_name"
_EXTENSION = re.compile(r"(?<=.)\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]+$")
_SPECIES_ID = re.compile(r"[0-9]{1,18}")


class PlotScores(NamedTuple):
    """The scores of one plot.

    Attributes:
        plot_id: the image_name without its extension.
        species_ids: int64, (species,), in the order of the columns.
        scores: float64, (species,), all finite.
    """

    plot_id: str
    species_ids: np.ndarray
    scores: np.ndarray


def plot_id_of_image(name: str) -> str:
    """Return the name of an image without folders and extension: `A1-20130807.HEIC` is `A1-20130807`.

    An extension is the part after the last dot, if it has only letters and digits with at least one letter: `plot-1.5`
    and `A.1-20130807` have none.
    """
    return normal_plot_id(_EXTENSION.sub("", last_part(name)))


def read_score_table(path: Path) -> Iterator[PlotScores]:
    """Read a table of scores, one plot after the other, in the order of the file.

    Quotes, a byte order mark, either end of line and blank lines are all accepted; scores are read by `float`.

    Raises:
        ValueError: the file cannot be read, it has no plot, a header is not `image_name` or a species id, a row has
            more or fewer fields than the header, a score is not a finite number, or a species or a plot occurs twice.
            The message names the file and, where there is one, the line and the column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _parse(stream)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a table of scores: it is not UTF-8 text") from error
    except ValueError as error:
        raise ValueError(f"{path} is not a table of scores: {error}") from error


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turn finite logits, (species,), into probabilities that sum to 1: float64, (species,)."""
    exponentials = np.exp(scores.astype(np.float64) - scores.max())
    return exponentials / exponentials.sum()


def choose_species(species_ids: np.ndarray, scores: np.ndarray, *, min_score: float, min_species: int = 0) -> list[int]:
    """Choose every species whose score is at least `min_score`, and at least the best `min_species` of them all.

    Args:
        species_ids: int, (species,).
        scores: float64, (species,), all finite.
        min_score: the least score, compared as float64.
        min_species: number of species that are chosen even if fewer reach it.

    Returns:
        species_ids by score, descending; ties in their given order. Empty if none passes and `min_species` is 0.
    """
    candidates = np.flatnonzero(scores >= min_score)
    number = len(candidates)
    if number < min_species:
        candidates, number = np.arange(len(scores)), min_species
    best_first = candidates[np.argsort(-scores[candidates], kind="stable")]
    return species_ids[best_first[:number]].tolist()


def submission_from_scores(
    path: Path, *, min_score: float, min_species: int = 0, apply_softmax: bool = False
) -> Iterator[SubmissionRow]:
    """Yield the rows of a submission, one for each row of a table of scores, in its order.

    A plot in which no species reaches `min_score` keeps its row, with an empty list unless `min_species` fills it.

    Args:
        path: the table, see `read_score_table`.
        min_score: see `choose_species`.
        min_species: see `choose_species`.
        apply_softmax: the table has logits; each row becomes probabilities first.

    Raises:
        ValueError: as `read_score_table`.
    """
    for plot_id, species_ids, scores in read_score_table(path):
        final = softmax(scores) if apply_softmax else scores
        chosen = choose_species(species_ids, final, min_score=min_score, min_species=min_species)
        yield SubmissionRow(plot_id, chosen)


def _parse(stream: TextIO) -> Iterator[PlotScores]:
    rows = _rows(stream)
    line, header = next(rows, (1, []))
    if not header:
        raise ValueError("it is empty")
    species_ids = _species(header, line)
    first_lines: dict[str, int] = {}
    for line, fields in rows:
        if len(fields) != len(header):
            raise ValueError(f"line {line} has {len(fields)} fields, but the header has {len(header)}")
        plot_id = plot_id_of_image(fields[0])
        if not plot_id:
            raise ValueError(f"line {line}, column 1: there is no {_NAME_COLUMN}")
        if plot_id in first_lines:
            raise ValueError(f"line {line}: plot {plot_id!r} occurs in line {first_lines[plot_id]} already")
        first_lines[plot_id] = line
        yield PlotScores(plot_id, species_ids, _scores(fields, header, line))
    if not first_lines:
        raise ValueError("it has a header, but no plot")


def _rows(stream: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of every row that is not blank."""
    reader = csv.reader(stream, delimiter=";", strict=True)
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield reader.line_num, fields
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not a CSV: {error}") from error


def _species(header: Sequence[str], line: int) -> np.ndarray:
    """Check the header and return its species_ids: int64, (species,)."""
    if header[0].strip() != _NAME_COLUMN:
        raise ValueError(
            f"line {line} begins with {_shown(header[0])}, but its first column should be {_NAME_COLUMN}, "
            "and semicolons should separate the columns"
        )
    if len(header) == 1:
        raise ValueError(f"line {line} names no species")
    columns: dict[int, int] = {}
    for column, name in enumerate(header[1:], start=2):
        if not _SPECIES_ID.fullmatch(name.strip()):
            raise ValueError(f"line {line}, column {column}: {_shown(name)} is not a species id")
        species_id = int(name)
        if species_id in columns:
            raise ValueError(
                f"line {line}, column {column}: species {species_id} is column {columns[species_id]} already"
            )
        columns[species_id] = column
    return np.array(list(columns), dtype=np.int64)


def _scores(fields: Sequence[str], header: Sequence[str], line: int) -> np.ndarray:
    """Convert the scores of a row: float64, (species,)."""
    try:
        scores = np.fromiter(map(float, fields[1:]), np.float64, len(fields) - 1)
    except ValueError:
        scores = np.array([math.nan])
    if np.isfinite(scores).all():
        return scores
    column = next(column for column, field in enumerate(fields) if column and not _is_finite(field))
    raise ValueError(
        f"line {line}, column {column + 1} (species {header[column].strip()}): {_shown(fields[column])} "
        "is not a finite number"
    )


def _is_finite(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _shown(field: str) -> str:
    """Quote a field for a message, shortened."""
    return repr(field if len(field) <= 40 else field[:40] + "…")
