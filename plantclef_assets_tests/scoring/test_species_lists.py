"""Lists of species from files."""

from pathlib import Path

import pytest

from plantclef_assets.scoring.species_lists import known_species, read_species_list

SPECIES = [1363, 1395, 1400]


@pytest.mark.parametrize(
    "text",
    [
        'name\tspecies_id\tauthor\nA\t1400\t"L\nB\t1363\tx\n',
        '"species_id","name, with author"\n1400,x\n"1363","y, z"\n',
        "1400\n1363\n\n1400\n",
        "\ufeffspecies_id\n1400\n1363\n",
        'name;"species_id"\nA, b;1400\nC;"1363"\n',
    ],
)
def test_lists_of_species_are_read_as_people_keep_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    listed = read_species_list(tmp_path / "list.csv")
    assert listed == [1400, 1363]
    assert known_species(tmp_path / "list.csv", [*listed, 5], SPECIES).tolist() == [1363, 1400]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has none"),
        ("species_id\n", "it has none"),
        ("name,id\nA,1400\n", "its header has no column species_id, but name, id"),
        ("species_id;name\n1400;A\nB;1363\n", "line 3 has 'B' instead of a species_id"),
        ("1400\nAbies alba\n", "line 2 has 'Abies alba' instead"),
        ("1400\n0\n", "line 2 has '0' instead"),
        ("1400\n9223372036854775808\n", "line 2 has '9223372036854775808' instead"),
        ("species_id,name\n1400,Abies, alba\n", "it has a row with 3 fields instead of 2: 1400,Abies, alba"),
    ],
)
def test_what_is_no_list_of_species_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=f"list.csv is not a list of species: {message}"):
        read_species_list(tmp_path / "list.csv")
