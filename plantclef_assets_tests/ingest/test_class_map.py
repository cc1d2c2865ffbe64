"""The class map: which species has which class index, and what it is called."""

import pytest

from plantclef_assets.ingest.class_map import ClassListError
from plantclef_assets_tests.ingest.small_lake import SmallLake, csv_of

THREE = csv_of([("a.jpg", 30), ("b.jpg", 10), ("c.jpg", 20), ("d.jpg", 10)])


def indices(rows: list[dict]) -> dict[int, int]:
    return {row["species_id"]: row["class_index"] for row in rows}


def test_without_a_list_classes_ascend_with_species_id(small: SmallLake) -> None:
    small.read_csv(THREE)
    rows = small.read_classes()
    assert indices(rows) == {10: 0, 20: 1, 30: 2}
    assert [row["images"] for row in rows] == [2, 1, 1]
    figures = small.statistics("class_map")
    assert (figures["rows_in"], figures["rows_out"], figures["quarantined"]) == (4, 4, 0)
    assert (figures["unlisted"], figures["without_images"]) == ([], 0)


def test_an_official_list_gives_its_own_order(small: SmallLake) -> None:
    small.read_csv(THREE)
    rows = small.read_classes(class_mapping="20\n30\n10\n")
    assert indices(rows) == {20: 0, 30: 1, 10: 2}
    assert [row["class_index"] for row in rows] == [0, 1, 2]


def test_species_of_the_list_without_photographs_keep_their_place(small: SmallLake) -> None:
    small.read_csv(THREE)
    rows = small.read_classes(class_mapping="99\n20\n30\n10\n")
    assert indices(rows) == {99: 0, 20: 1, 30: 2, 10: 3}
    assert (rows[0]["images"], rows[0]["species"]) == (0, None)
    assert small.statistics("class_map")["without_images"] == 1


def test_species_that_the_list_lacks_follow_behind_it_and_are_told(small: SmallLake) -> None:
    small.read_csv(THREE)
    rows = small.read_classes(class_mapping="20\n")
    assert indices(rows) == {20: 0, 10: 1, 30: 2}
    assert small.statistics("class_map")["unlisted"] == [10, 30]
    assert small.statistics("class_map")["official"] == 1


def test_the_commonest_spelling_stands_for_a_species(small: SmallLake) -> None:
    small.read_csv(
        "image_name;species_id;species;genus;family;gbif_species_id\n"
        "a;1;Aster alpinus;Aster;Asteraceae;7.0\nb;1;Aster alpinus L.;Aster;Asteraceae;7.0\n"
        "c;1;Aster alpinus L.;Aster;Compositae;\nd;2;;;;\n"
    )
    first, second = small.read_classes()
    assert (first["species"], first["genus"], first["family"]) == ("Aster alpinus L.", "Aster", "Asteraceae")
    assert first["gbif_species_id"] == 7
    assert (second["species"], second["gbif_species_id"]) == (None, None)


def test_of_spellings_that_are_as_common_it_is_always_the_same_one(small: SmallLake) -> None:
    # Whichever a thread meets first would change from run to run, and with it the fingerprint of all that follows.
    small.read_csv(
        "image_name,species_id,species,genus,family\n"
        "a,1,Bellis,Bellis,Compositae\nb,1,Aster,Aster,Asteraceae\n"
        "c,2,Aster,Aster,Asteraceae\nd,2,Bellis,Bellis,Compositae\n"
    )
    for row in small.read_classes():
        assert (row["species"], row["genus"], row["family"]) == ("Aster", "Aster", "Asteraceae")


def test_official_names_stand_before_those_of_the_metadata(small: SmallLake) -> None:
    small.read_csv("image_name,species_id,species\na.jpg,1,Aster sp.\nb.jpg,2,Bellis sp.\n")
    names = '"species_id";"species"\n"1";"Aster alpinus L.; subsp. ""x"""\n"99";"Nobody"\n'
    rows = small.read_classes(species_names=names)
    assert [row["species"] for row in rows] == ['Aster alpinus L.; subsp. "x"', "Bellis sp."]


def test_windows_line_ends_blank_lines_and_a_byte_order_mark_do_not_matter(small: SmallLake) -> None:
    small.read_csv(THREE)
    assert indices(small.read_classes(class_mapping="\ufeff20\r\n\r\n30\r\n10\r\n")) == {20: 0, 30: 1, 10: 2}
    assert small.read_classes(species_names='\ufeff"species_id";"species"\r\n"10";"X"\r\n')[0]["species"] == "X"


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"class_mapping": "10\nspecies\n"}, "class_mapping.txt, line 2: 'species' is not a species_id"),
        ({"class_mapping": "species_id\n10\n"}, "line 1: 'species_id' is not a species_id"),
        ({"class_mapping": "10\n-3\n"}, "line 2: '-3' is not a species_id"),
        ({"class_mapping": "10\n20\n10\n"}, "species_id 10 occurs twice"),
        ({"class_mapping": "10\n0\n"}, "line 2: '0' is not a species_id"),
        ({"class_mapping": "10\n99999999999999999999\n"}, "line 2: '99999999999999999999' is not a species_id"),
        ({"species_names": '"10";"X"\n'}, "has no column species_id and no column species; it has 10, X"),
        ({"species_names": ""}, "is empty; a header line with species_id and species is needed"),
        ({"species_names": '"species_id";"species"\n"10"\n'}, 'has a row with 1 fields instead of 2: "10"'),
        ({"species_names": '"species_id";"species"\n"ten";"X"\n'}, "line 2: 'ten' is not a species_id"),
    ],
)
def test_a_list_of_another_form_is_one_clear_error(small: SmallLake, lists: dict[str, str], said: str) -> None:
    small.read_csv(THREE)
    with pytest.raises(ClassListError) as caught:
        small.read_classes(**lists)
    assert said in str(caught.value)
    assert not (small.root / "lake" / "class_map.parquet").exists()


def test_a_list_of_as_many_species_as_plantclef_has_is_read(small: SmallLake) -> None:
    small.read_csv(THREE)
    ids = range(1355868, 1355868 + 7806)
    names = "".join(f'"{one}";"Planta {one}"\n' for one in ids)
    rows = small.read_classes(
        class_mapping="".join(f"{one}\n" for one in ids), species_names='"species_id";"species"\n' + names
    )
    assert len(rows) == 7806 + 3
    assert rows[7805]["species"] == "Planta 1363673"
