import os
from pathlib import Path

import pytest

from plantclef_assets.scoring.submissions import (
    format_submission,
    parse_submission,
    plot_id_of,
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
        '"plot_id";"species_ids"\n"a.jpg";"[1, 2]"\n"b.JPEG";"[3]"',
        'quadrat_id,species_ids\na,"[1, 2]"\nb,[3]\n',
    ],
)
def test_what_people_make_of_the_files_is_read_too(text):
    assert parse_submission(text) == [("a", [1, 2]), ("b", [3])]


def test_file_extensions_are_dropped_but_not_parts_of_names():
    assert plot_id_of("CBN-PdlC-A1-20130807.jpg") == "CBN-PdlC-A1-20130807"
    assert plot_id_of("a.b.webp") == "a.b"
    assert plot_id_of("plot-1.2024") == "plot-1.2024"
    assert format_submission([("a.PNG", [1])], "2024").endswith("\na;[1]\n")


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
    with pytest.raises(ValueError, match=r"run\.csv is no submission"):
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
