"""Lists of species, such as a regional checklist, from files that people keep."""

import csv
from collections.abc import Collection
from pathlib import Path

import numpy as np

_COLUMN = "species_id"


def read_species_list(file: Path) -> list[int]:
    """Read the species of a list: a CSV (`,`, `;` or tabs) with a column `species_id`, or one id a line.

    Returns:
        the species_ids in the order of the file, each once.

    Raises:
        ValueError: the file names no species, or a line has something else where the id should be.
        OSError: the file cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no list of species: it is no text in UTF-8") from error
    header = lines[0] if lines else ""
    separator = next((one for one in (";", "\t", ",") if one in header), ",")
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    place = names.index(_COLUMN) if _COLUMN in names else None
    if place is None and len(names) > 1:
        raise ValueError(f"{file} is no list of species: its header has no column {_COLUMN}, but {', '.join(names)}")
    species: dict[int, None] = {}
    first = 1 if place is None else 2
    for number, fields in enumerate(csv.reader(lines[first - 1 :], delimiter=separator), first):
        if not any(field.strip() for field in fields):
            continue
        text = fields[place or 0].strip() if len(fields) > (place or 0) else ""
        if not text.isdecimal():
            raise ValueError(f"{file} is no list of species: line {number} has {text[:80]!r} instead of a {_COLUMN}")
        species[int(text)] = None
    if not species:
        raise ValueError(f"{file} is no list of species: it names none")
    return list(species)


def known_species(file: Path, listed: Collection[int], known: Collection[int]) -> np.ndarray:
    """Give the species of a list that are known, int64, ascending; others may stand in it too.

    Raises:
        ValueError: not one of them is known, so that the list is of other ids.
    """
    matched = sorted(set(listed) & set(known))
    if not matched:
        raise ValueError(f"not one of the {len(listed)} ids in {file} is a {_COLUMN} of the class map")
    return np.array(matched, np.int64)
