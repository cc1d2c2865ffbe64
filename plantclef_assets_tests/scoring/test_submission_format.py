import os
from pathlib import Path

import pytest

from plantclef_assets.scoring.submission_format import (
    can_hold,
    format_submission,
    parse_submission,
    read_species_of_plots,
    read_submission,
    validate_submission,
    write_submission,
)

ROWS = [("CBN-PdlC-A1-20130807", [1363875, 1395807]), ("RNNB-8-8-20240118", []), ("OPTMix-083-P4", [1391336])]
TEXTS = {
    "2024": "plot_id;species_ids\n"
    "CBN-PdlC-A1-20130807;[1363875, 1395807]\n"
    "RNNB-8-8-20240118;[]\n"
    "OPTMix-083-P4;[1391336]\n",
    "2025": '"quadrat_id","species_ids"\n'
    '"CBN-PdlC-A1-20130807","[1363875, 1395807]"\n'
    '"RNNB-8-8-20240118","[]"\n'
    '"OPTMix-083-P4","[1391336]"\n',
}


@pytest.mark.parametrize("dialect", TEXTS)
def test_both_dialects_are_written_byte_for_byte_and_read(dialect, tmp_path):
    path = tmp_path / "run.csv"
    write_submission(path, ROWS, dialect)
    assert path.read_bytes() == TEXTS[dialect].encode()
    assert read_submission(path) == ROWS


@pytest.mark.sample
@pytest.mark.parametrize("dialect", ["2024", "2025"])
def test_published_submissions_are_reproduced(dialect):
    if "PLANTCLEF_TEST_DATA" not in os.environ:
        pytest.skip("the real sample is missing: set PLANTCLEF_TEST_DATA to the folder that holds plantclef_sample/")
    path = Path(os.environ["PLANTCLEF_TEST_DATA"]) / "reference" / f"submission_{dialect}_example.csv"
    rows = read_submission(path)
    assert len(rows) > 10
    assert format_submission(rows, dialect).encode() == path.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffplot_id;species_ids\r\na;[1,2]\r\n\r\nb;[ 3 ]\r\n",
        '"plot_id";"species_ids"\n"a";"[1, 2]"\n"b";"[3]"',
        "plot_id;species_ids\ra;[1,2]\rb;[3]",
        'quadrat_id,species_ids\na,"[1, 2]"\nb,[3]\n',
    ],
)
def test_what_people_make_of_the_files_is_read_too(text):
    assert parse_submission(text) == [("a", [1, 2]), ("b", [3])]


NAMES = ["IMG_1.JPG", "scan.tif", "caf\u00e9", "cafe\u0301", "a,b", 'say "no"', "a\u2028b", "a\x0bb", "x\x85y"]
"""Names that both dialects can hold."""


@pytest.mark.parametrize("dialect", TEXTS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_reads_back_unchanged(dialect, name):
    assert can_hold(dialect, name)
    rows = [(name, [1]), ("b", [2])]
    assert parse_submission(format_submission(rows, dialect)) == rows


@pytest.mark.parametrize("name", ["north; wet", "two\nlines", "two\rlines", '"quoted" name'])
def test_a_name_that_a_dialect_cannot_hold_is_known_before_it_is_written(name):
    assert not can_hold("2024", name)
    with pytest.raises(ValueError, match="cannot be written in dialect 2024; 2025 holds more names"):
        format_submission([(name, [1])], "2024")
    assert can_hold("2025", name)
    rows = [(name, [1]), ("b", [])]
    assert parse_submission(format_submission(rows, "2025")) == rows


@pytest.mark.parametrize("dialect", TEXTS)
def test_answers_are_named_in_the_normal_form(dialect, tmp_path):
    write_submission(tmp_path / "truth.csv", [(" cafe\u0301 ", [1]), ("b.jpg", [2])], dialect)
    assert read_species_of_plots(tmp_path / "truth.csv") == {"caf\u00e9": [1], "b.jpg": [2]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", [1]), ("b", [2]), ("a", [3])], "plot 'a' occurs more than once"),
        ([("a", [1]), (" a", [1])], "plot 'a' occurs more than once"),
        ([("caf\u00e9", [1]), ("cafe\u0301", [1])], "plot 'caf\u00e9' occurs more than once"),
        ([], "it has a header, but no plot"),
        ([("a", [1, 0])], "line 2: 0 of plot 'a' is not a species id"),
        ([("a", [1]), ("b", [10**30])], f"line 3: {10**30} of plot 'b' is not a species id"),
        ([("a", [-7])], "line 2 is not a plot and a list"),
    ],
)
@pytest.mark.parametrize("dialect", TEXTS)
def test_a_truth_that_cannot_be_is_refused(dialect, rows, message, tmp_path):
    write_submission(tmp_path / "truth.csv", rows, dialect)
    with pytest.raises(ValueError, match=message):
        read_species_of_plots(tmp_path / "truth.csv")
    (tmp_path / "truth.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="its first line is ''"):
        read_species_of_plots(tmp_path / "truth.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line is ''"),
        ("plot_id,species\na,[1]\n", "should be plot_id;species_ids or quadrat_id,species_ids"),
        ("plot_id;species_ids\na;[1]\nb;1 2\n", "line 3 .*b;1 2"),
        ("plot_id;species_ids\na;[1, x]\n", "line 2"),
        ("plot_id;species_ids\na;[1];c\n", "line 2"),
        ("plot_id;species_ids\n;[1]\n", "line 2"),
    ],
)
def test_what_is_no_submission_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        parse_submission(text)
    (tmp_path / "run.csv").write_text(text)
    with pytest.raises(ValueError, match=r"run\.csv is not a submission"):
        read_submission(tmp_path / "run.csv")


def test_what_a_dialect_cannot_write_is_refused():
    with pytest.raises(ValueError, match="unknown dialect '2023'"):
        format_submission(ROWS, "2023")
    with pytest.raises(ValueError, match="cannot be written in dialect 2024"):
        format_submission([("a;b", [1])], "2024")
    assert parse_submission(format_submission([('a;b"c,d', [1])], "2025")) == [('a;b"c,d', [1])]


PLOTS, SPECIES = ["p1", "p2", "p3"], [1, 2, 3]


def test_a_valid_submission_has_no_problems():
    assert validate_submission([("p2", [3, 1]), ("p1", []), ("p3", [2])], PLOTS, SPECIES) == []


def test_every_problem_is_named():
    rows = [("p1", [1, 7, 9]), ("p2", [2, 2]), ("p2", []), ("p4", [3])]
    assert validate_submission(rows, PLOTS, SPECIES) == [
        "plot p3 is missing",
        "plot p4 is not one of the plots",
        "plot p2 occurs 2 times",
        "plot p1 names unknown species: 7, 9",
        "plot p2 names species more than once: 2",
    ]
