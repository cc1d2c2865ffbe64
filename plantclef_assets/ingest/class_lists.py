"""Official lists: which species are classes, in which order, and what they are called."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plantclef_assets.ingest.csv_tables import CsvError, CsvTable, read_species_id


class ClassListError(ValueError):
    """An official class list or list of names that cannot be read as one."""


def read_class_mapping(file: Path) -> list[int]:
    """Read an official class list (`class_mapping.txt`): one species_id a line, no header.

    Raises:
        ClassListError: a line is no species_id, or repeats one.
    """
    species: dict[int, None] = {}
    for number, (text,) in enumerate(_rows(file, ["species_id"], header=["species_id"]), 1):
        species_id = read_species_id(text)
        if species_id is None:
            raise ClassListError(f"{file}, line {number}: '{text[:80]}' is no species_id; one id a line is needed")
        if species_id in species:
            raise ClassListError(f"{file}: species_id {species_id} stands there twice")
        species[species_id] = None
    return list(species)


def read_species_names(file: Path) -> dict[int, str]:
    """Read an official list of names (`species_id_to_name.txt`): a CSV with the columns species_id and species.

    Raises:
        ClassListError: a column is missing, or a row is of another form.
    """
    names: dict[int, str] = {}
    for number, (text, name) in enumerate(_rows(file, ["species_id", "species"]), 2):
        species_id = read_species_id(text)
        if species_id is None:
            raise ClassListError(f"{file}, line {number}: '{text[:80]}' is no species_id")
        names[species_id] = name
    return names


def _rows(file: Path, columns: Sequence[str], header: Sequence[str] | None = None) -> Iterator[list[str]]:
    """Yield the fields of each row in the order of `columns`; a missing value is an empty string."""
    try:
        table = CsvTable(file, columns, columns, header=header)
        batches = list(table.batches())
    except CsvError as error:
        raise ClassListError(str(error)) from error
    if table.rejected:
        raise ClassListError(f"{file} has a row with {table.rejected[0]}")
    for batch in batches:
        for row in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            yield [text or "" for text in row]
