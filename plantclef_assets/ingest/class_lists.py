"""Official lists: which species are classes, in which order, and what they are called."""

import csv
from pathlib import Path


class ClassListError(ValueError):
    """An official class list or list of names that cannot be read as one."""


def read_class_mapping(file: Path) -> list[int]:
    """Read an official class list (`class_mapping.txt`): one species_id a line, no header.

    Raises:
        ClassListError: a line is no species_id, or repeats one.
    """
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        if not line.isdigit():
            raise ClassListError(f"{file}, line {number}: '{line[:80]}' is no species_id; one id a line is needed")
    if len(set(lines)) != len(lines):
        repeated = next(line for line in lines if lines.count(line) > 1)
        raise ClassListError(f"{file}: species_id {repeated} stands there twice")
    return [int(line) for line in lines]


def read_species_names(file: Path) -> dict[int, str]:
    """Read an official list of names (`species_id_to_name.txt`): `"species_id";"species"`, with a header.

    Raises:
        ClassListError: the header or a line is of another form.
    """
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream, delimiter=";"))
    if not rows or rows[0][:2] != ["species_id", "species"]:
        raise ClassListError(f'{file} does not begin with the header "species_id";"species"')
    names: dict[int, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2 or not row[0].isdigit():
            raise ClassListError(f'{file}, line {number}: {row} is not of the form "species_id";"species"')
        names[int(row[0])] = row[1]
    return names
