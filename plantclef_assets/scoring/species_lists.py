"""Lists of species, such as a regional checklist, from files."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from plantclef_assets.ingest.csv_tables import CsvError, CsvTable, read_species_id

_COLUMN = "species_id"


def read_species_list(file: Path) -> list[int]:
    """Read the species of a list: a CSV (`,`, `;` or tabs) with a column `species_id`, or one id a line.

    Returns:
        the species_ids in the order of the file, each once.

    Raises:
        ValueError: the file has no species, or a line has something else instead of an id.
        OSError: the file cannot be read.
    """
    species: dict[int, None] = {}
    try:
        table = CsvTable(file, [_COLUMN])
        if _COLUMN not in table.names and len(table.names) > 1:
            raise CsvError(f"its header has no column {_COLUMN}, but {', '.join(table.names)}")
        first = 2
        if _COLUMN not in table.names:
            table, first = CsvTable(file, [_COLUMN], header=[_COLUMN]), 1
        texts = [text for batch in table.batches() for text in batch.column(_COLUMN).to_pylist()]
        if table.rejected:
            raise CsvError(f"it has a row with {table.rejected[0]}")
        for number, text in enumerate(texts, first):
            species_id = read_species_id(text)
            if species_id is None:
                raise CsvError(f"line {number} has {(text or '')[:80]!r} instead of a {_COLUMN}")
            species[species_id] = None
    except CsvError as error:
        raise ValueError(f"{file} is not a list of species: {error}") from error
    if not species:
        raise ValueError(f"{file} is not a list of species: it has none")
    return list(species)


def known_species(file: Path, listed: Collection[int], known: Collection[int]) -> np.ndarray:
    """Return the known species of a list, int64, ascending; unknown ones are ignored.

    Raises:
        ValueError: none is known, so the list has other ids.
    """
    matched = sorted(set(listed) & set(known))
    if not matched:
        raise ValueError(f"not one of the {len(listed)} ids in {file} is a {_COLUMN} of the class map")
    return np.array(matched, np.int64)
