"""Matching of image_name with photographs: names, paths, loose spellings, and what is refused."""

from collections.abc import Callable

import pytest

from plantclef_assets.ingest.matching import ManifestError
from plantclef_assets_tests.ingest.small_lake import SmallLake, csv_of

NAMES = [f"p{number}.jpg" for number in range(6)]


def match(small: SmallLake, files: list[str], rows: list[str]) -> dict[str, str]:
    """Write photographs and metadata, make the manifest, and return image_name by source."""
    small.write_files({name: bytes(10 + place) for place, name in enumerate(files)})
    small.read_csv(csv_of([(row, 7 + place) for place, row in enumerate(rows)]))
    return {row["source"]: row["image_name"] for row in small.list_photographs()}


def loosely(small: SmallLake) -> dict[str, int]:
    return small.statistics("training_manifest").get("matched_loosely", {})


def test_photographs_of_one_file_name_are_told_apart_by_their_folders(small: SmallLake) -> None:
    files = [f"{folder}/original.jpg" for folder in ("a", "b", "c")]
    assert match(small, files, files) == {file: file for file in files}
    assert small.quarantined("training_manifest") == []
    assert loosely(small) == {}


def test_a_folder_that_image_name_names_says_nothing_of_species(small: SmallLake) -> None:
    files = [f"{number}/original.jpg" for number in (7, 8, 9)]
    assert match(small, files, [files[1], files[2], files[0]]) == {file: file for file in files}
    assert match(small, [*files, "8/p8.jpg"], ["p8.jpg", *files]) == {file: file for file in files}
    assert ("p8.jpg", "label_mismatch") in small.quarantined("training_manifest")


def test_a_path_may_begin_below_the_source(small: SmallLake) -> None:
    files = [f"photos/2024/{number}/original.jpg" for number in range(3)]
    rows = [f"{number}/original.jpg" for number in range(3)]
    assert match(small, files, rows) == dict(zip(files, rows, strict=True))


@pytest.mark.parametrize("folder", ["photographs/", "/home/ann/photographs/", "https://example.org/photos/", "./"])
def test_a_path_may_begin_above_the_source(small: SmallLake, folder: str) -> None:
    files = ["x/original.jpg", "y/original.jpg", "z.jpg"]
    assert match(small, files, [folder + file for file in files]) == {file: folder + file for file in files}


@pytest.mark.parametrize("folder", ["photographs\\", "C:\\Users\\Ann\\photographs\\", ".\\"])
def test_a_path_of_windows_is_a_path(small: SmallLake, folder: str) -> None:
    files = ["x/original.jpg", "y/original.jpg", "z.jpg"]
    rows = [folder + file.replace("/", "\\") for file in files]
    assert match(small, files, rows) == dict(zip(files, rows, strict=True))
    assert sum(loosely(small).values()) == 3


@pytest.mark.parametrize(
    ("spelt", "how"),
    [
        (str.upper, "apart from letter case"),
        (str.title, "apart from letter case"),
        (lambda name: name.removesuffix(".jpg"), "apart from the extension"),
        (lambda name: name.removesuffix(".jpg").upper(), "apart from the extension"),
        (lambda name: f" {name}  ", "apart from blanks, slashes or Unicode form"),
        (lambda name: f"{name}\xa0", "apart from blanks, slashes or Unicode form"),
    ],
)
def test_other_spellings_of_a_name_are_matched_and_counted(
    small: SmallLake, spelt: Callable[[str], str], how: str
) -> None:
    rows = [spelt(name) for name in NAMES]
    assert match(small, NAMES, rows) == dict(zip(NAMES, rows, strict=True))
    assert loosely(small) == {how: len(NAMES)}
    assert small.quarantined("training_manifest") == []


def test_the_unicode_form_of_a_name_does_not_matter(small: SmallLake) -> None:
    assert match(small, ["e\u0301.jpg"], ["\xe9.jpg"]) == {"e\u0301.jpg": "\xe9.jpg"}


def test_the_exact_name_comes_before_other_spellings(small: SmallLake) -> None:
    files = ["a.jpg", "A.jpg", "b", "b.jpg"]
    assert match(small, ["a.jpg", "A.jpg", "B.jpg"], ["a.jpg", "A.jpg", "b.jpg"]) == {
        "a.jpg": "a.jpg", "A.jpg": "A.jpg", "B.jpg": "b.jpg"
    }, files  # fmt: skip


def test_a_longer_path_comes_before_a_file_name(small: SmallLake) -> None:
    files = ["x/a.jpg", "y/a.jpg"]
    assert match(small, files, ["a.jpg", "x/a.jpg"]) == {"x/a.jpg": "x/a.jpg", "y/a.jpg": "a.jpg"}


@pytest.mark.parametrize(
    ("files", "rows", "refused"),
    [
        (["p.jpg", "p.png"], ["p"], ["p.jpg", "p.png"]),
        (["IMG.jpg"], ["img.jpg", "Img.jpg"], ["IMG.jpg"]),
        (["a.JPG", "A.jpg"], ["a.jpg"], ["A.jpg", "a.JPG"]),
        (["i.jpg"], ["x/i.jpg", "y/i.jpg"], ["i.jpg"]),
    ],
)
def test_a_name_that_could_stand_for_several_photographs_stands_for_none(
    small: SmallLake, files: list[str], rows: list[str], refused: list[str]
) -> None:
    assert match(small, [*NAMES, *files], [*NAMES, *rows]) == {name: name for name in NAMES}
    findings = small.quarantined("training_manifest")
    assert sorted(name or "" for name, reason in findings if reason == "ambiguous_name") == sorted(refused)
    assert {name for name, reason in findings if reason == "no_image"} == set(rows)


def test_names_of_another_folder_are_no_names_of_this_one(small: SmallLake) -> None:
    # The source is folder b of the metadata. Photograph 5 of it has no row; that of folder a is another plant.
    own = ["p0.jpg", "p1.jpg", "p2.jpg", "p6.jpg", "p7.jpg", "p8.jpg", "p9.jpg"]
    rows = [f"a/{name}" for name in NAMES] + [f"b/{name}" for name in own]
    assert match(small, [*own, "p5.jpg"], rows) == {name: f"b/{name}" for name in own}
    assert ("p5.jpg", "ambiguous_name") in small.quarantined("training_manifest")


def test_folders_that_cannot_be_told_apart_are_one_clear_error(small: SmallLake) -> None:
    rows = [f"{folder}/{name}" for folder in "ab" for name in NAMES[:5]] + ["a/p5.jpg", "b/p6.jpg"]
    with pytest.raises(ManifestError, match=r"a/p0\.jpg"):
        match(small, [*NAMES, "p6.jpg"], rows)


def test_photographs_of_several_folders_may_lie_in_one(small: SmallLake) -> None:
    rows = ["ann/a.jpg", "bob/b.jpg"]
    assert match(small, ["a.jpg", "b.jpg"], rows) == {"a.jpg": "ann/a.jpg", "b.jpg": "bob/b.jpg"}


def test_the_same_file_in_two_folders_is_used_once_however_it_is_spelt(small: SmallLake) -> None:
    assert match(small, ["x/A.JPG", "y/A.JPG"], ["a.jpg"]) == {"x/A.JPG": "a.jpg"}
    assert small.quarantined("training_manifest") == [("A.JPG", "duplicate_name")]


@pytest.mark.parametrize(
    ("files", "rows", "said"),
    [
        (NAMES, [f"p{n}.png" for n in range(6)], "the extensions are not the same. The metadata have 'p0.png', and "
         "there is 'p0.jpg'"),
        ([f"new/{name}" for name in NAMES], [f"old/{name}" for name in NAMES], "the folders are not the same"),
        (NAMES, [str(n) for n in range(6)], "the names are not alike. The metadata have '0', and there is 'p0.jpg'"),
        (NAMES, ["p0.jpg", *(f"q{n}.jpg" for n in range(5))], "only 1 of 6 rows of the metadata name one of the 6"),
    ],
)  # fmt: skip
def test_names_that_do_not_match_are_one_clear_error(
    small: SmallLake, files: list[str], rows: list[str], said: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        match(small, files, rows)
    assert said in str(caught.value)
    assert "PLANTCLEF_TRAINING_IMAGES" in str(caught.value)
    assert not (small.root / "lake" / "training_manifest.parquet").exists()


def test_a_few_rows_of_many_photographs_and_a_few_photographs_of_many_rows_are_fine(small: SmallLake) -> None:
    assert len(match(small, NAMES, [f"p{n}.jpg" for n in range(100)])) == 6
    assert len(match(small, [f"p{n}.jpg" for n in range(100)], NAMES)) == 6


def test_photographs_of_no_wanted_licence_are_one_clear_error(small: SmallLake) -> None:
    small.write_files(dict.fromkeys(NAMES, b"x"))
    small.read_csv("image_name,species_id,license\n" + "".join(f"{name},7,cc-by-nc\n" for name in NAMES))
    with pytest.raises(ManifestError, match=r"none of the 6 photographs in .* quarantined as license, .* cc-by-nc"):
        small.list_photographs(licenses=["cc0"])
