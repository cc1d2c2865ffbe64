"""Tables of per-class scores: what is read, what is refused, and which species a plot gets."""

from pathlib import Path

import numpy as np
import pytest

from plantclef_assets.scoring.score_tables import (
    choose_species,
    plot_id_of_image,
    read_score_table,
    softmax,
    submission_from_scores,
)

TABLE = "image_name;1355868;1355869;1355870\nCBN-PdlC-A1-20130807.jpg;0.1;0.7;0.2\nRNNB-8-8-20240118.JPG;1e-3;0;.01\n"
SPECIES = np.array([11, 12, 13, 14])


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "scores.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "plot_id"),
    [
        ("CBN-PdlC-A1-20130807.jpg", "CBN-PdlC-A1-20130807"),
        ("RNNB-8-8-20240118.JPG", "RNNB-8-8-20240118"),
        ("2024-CEV3-20240602.jpeg", "2024-CEV3-20240602"),
        ("OPTMix-083-P4-20231212.tiff", "OPTMix-083-P4-20231212"),
        ("LISAH-BOU-0-56-20230512.HEIC", "LISAH-BOU-0-56-20230512"),
        ("GUARDEN-AMB-CF21-1-10-20240326.jp2", "GUARDEN-AMB-CF21-1-10-20240326"),
        (" a.b.webp ", "a.b"),
        ("CBN-PdlC-A1-20130807", "CBN-PdlC-A1-20130807"),
        ("plot-1.5", "plot-1.5"),
        ("A.1-20130807", "A.1-20130807"),
        ("A.1-20130807.png", "A.1-20130807"),
    ],
)
def test_an_extension_of_any_kind_is_dropped_but_no_part_of_a_name(name: str, plot_id: str) -> None:
    assert plot_id_of_image(name) == plot_id


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    first, second = read_score_table(write(tmp_path, TABLE))
    assert (first.plot_id, second.plot_id) == ("CBN-PdlC-A1-20130807", "RNNB-8-8-20240118")
    assert first.species_ids.tolist() == [1355868, 1355869, 1355870]
    assert first.scores.dtype == np.float64
    assert second.scores.tolist() == [0.001, 0.0, 0.01]


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace("\n", "\r\n"),
        "\ufeff" + TABLE,
        TABLE + "\n\r\n  \n",
        TABLE.rstrip("\n"),
        "\n".join(";".join(f'"{field}"' for field in line.split(";")) for line in TABLE.splitlines()),
        TABLE.replace("0.7", " +7.0E-1 ").replace(";0;", ";-0.0;"),
    ],
    ids=["crlf", "byte order mark", "blank lines", "no last end of line", "quoted", "notations"],
)
def test_what_people_make_of_tables_is_read_too(tmp_path: Path, text: str) -> None:
    expected = [("CBN-PdlC-A1-20130807", [1355869, 1355870, 1355868]), ("RNNB-8-8-20240118", [1355870])]
    assert list(submission_from_scores(write(tmp_path, text), min_score=0.01)) == expected


def test_a_score_that_equals_the_threshold_passes_and_the_next_lower_one_does_not() -> None:
    scores = np.array([0.01, np.nextafter(0.01, 0), np.nextafter(0.01, 1), 0.0])
    assert choose_species(SPECIES, scores, min_score=0.01) == [13, 11]


def test_equal_scores_keep_the_order_of_the_columns() -> None:
    scores = np.tile([0.2, 0.5, 0.2, 0.5], 50)
    chosen = choose_species(np.arange(200), scores, min_score=0.1)
    assert chosen == [*range(1, 200, 2), *range(0, 200, 2)]


@pytest.mark.parametrize(
    ("min_score", "min_species", "expected"),
    [
        (0.5, 0, []),
        (0.5, 1, [12]),
        (0.3, 1, [12, 14]),
        (0.3, 3, [12, 14, 11]),
        (0.3, 9, [12, 14, 11, 13]),
        (-1.0, 0, [12, 14, 11, 13]),
    ],
)
def test_the_least_number_of_species(min_score: float, min_species: int, expected: list[int]) -> None:
    scores = np.array([0.2, 0.4, 0.1, 0.3])
    assert choose_species(SPECIES, scores, min_score=min_score, min_species=min_species) == expected


def test_a_plot_where_nothing_passes_keeps_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    assert list(submission_from_scores(path, min_score=0.5))[1] == ("RNNB-8-8-20240118", [])
    assert list(submission_from_scores(path, min_score=0.5, min_species=1))[1] == ("RNNB-8-8-20240118", [1355870])


def test_softmax_is_that_of_each_row_and_survives_large_logits(tmp_path: Path) -> None:
    assert softmax(np.array([0.0, np.log(3)])) == pytest.approx([0.25, 0.75])
    assert softmax(np.array([5000.0, 5000.0, -5000.0])) == pytest.approx([0.5, 0.5, 0.0])
    path = write(tmp_path, "image_name;1;2;3\na.jpg;0;1000;1000\nb.jpg;-2;1;-2\n")
    rows = list(submission_from_scores(path, min_score=0.04, apply_softmax=True))
    assert rows == [("a", [2, 3]), ("b", [2, 1, 3])]
    assert list(submission_from_scores(path, min_score=0.05, apply_softmax=True))[1] == ("b", [2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("image_name;1;2\n", "it has a header, but no plot"),
        ("image_name\na.jpg\n", "line 1 names no species"),
        ("image_name,1,2\na,0,1\n", "line 1 begins with 'image_name,1,2', but its first column should be image_name"),
        ("1;2\n0.1;0.2\n", "line 1 begins with '1'"),
        ("image_name;1;x2\na;0;1\n", "line 1, column 3: 'x2' is not a species id"),
        ("image_name;1;2.0\na;0;1\n", "line 1, column 3: '2.0' is not a species id"),
        ("image_name;1;\na;0;\n", "line 1, column 3: '' is not a species id"),
        ("image_name;1;2;1\na;0;1;2\n", "line 1, column 4: species 1 is column 2 already"),
        ("image_name;1;2\na;0;1\nb;0\n", "line 3 has 2 fields, but the header has 3"),
        ("image_name;1;2\na;0;1;2\n", "line 2 has 4 fields, but the header has 3"),
        ("image_name;1;2\na;0;abc\n", "line 2, column 3 (species 2): 'abc' is not a finite number"),
        ("image_name;1;2\na;0;0,5\n", "line 2, column 3 (species 2): '0,5' is not a finite number"),
        ("image_name;1;2\n\na;;1\n", "line 3, column 2 (species 1): '' is not a finite number"),
        ("image_name;1;2\na;0;nan\n", "line 2, column 3 (species 2): 'nan' is not a finite number"),
        ("image_name;1;2\na;-inf;0\n", "line 2, column 2 (species 1): '-inf' is not a finite number"),
        ("image_name;1;2\n;0;1\n", "line 2, column 1: there is no image_name"),
        ("image_name;1\na.jpg;0\nb.jpg;0\na.PNG;1\n", "line 4: plot 'a' occurs in line 2 already"),
        ('image_name;1\n"a.jpg;0\nb.jpg;0\n', "is not a CSV: unexpected end of data"),
        (b"image_name;1\n\xff;0\n", "it is not UTF-8 text"),
    ],
)
def test_what_is_no_table_is_refused_with_a_sentence(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as refusal:
        list(submission_from_scores(path, min_score=0.01))
    assert str(refusal.value).startswith(f"{path} is not a table of scores: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ValueError, match=f"{path} cannot be read: {reason}"):
            list(read_score_table(path))


def test_a_table_of_all_7806_species_agrees_with_numpy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    species = 1355868 + random.permutation(20_000)[:7806]
    logits = random.normal(0, 3, (40, 7806))
    path = tmp_path / "scores.csv"
    with path.open("w") as stream:
        stream.write("image_name;" + ";".join(map(str, species)) + "\n")
        for number, row in enumerate(logits):
            stream.write(f"P-{number}.jpg;" + ";".join(map(repr, row.tolist())) + "\n")
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = [
        (f"P-{number}", [int(species[place]) for place in np.argsort(-row) if row[place] >= 0.002])
        for number, row in enumerate(probabilities)
    ]
    assert list(submission_from_scores(path, min_score=0.002, apply_softmax=True)) == expected
    assert sum(len(answer) for _, answer in expected) > 400
