"""CSVs for people hold no formulas; harmless cells keep their bytes."""

import csv
import io

import pytest

from plantclef_assets.lake.spreadsheets import csv_lines
from plantclef_assets.scoring.cover_files import _csv
from plantclef_assets.scoring.submission_format import DIALECTS, can_hold, format_submission, parse_submission

FORMULAS = ["=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text: str) -> None:
    (line,) = csv_lines([[text, 1]])
    assert next(csv.reader(io.StringIO(line, newline=""))) == [f"'{text}", "1"]


def test_harmless_cells_keep_their_bytes() -> None:
    rows = [["a", "Poa annua L.", "x=1", " =1", "'a", "1-2", ""], [-1, -0.5, None, 0, True, "a,b", 'say "a"']]
    assert list(csv_lines(rows)) == [
        "a,Poa annua L.,x=1, =1,'a,1-2,\n",
        '-1,-0.5,,0,True,"a,b","say ""a"""\n',
    ]


def test_a_line_break_stays_within_its_cell() -> None:
    assert list(csv_lines([["a\nb", "c\rd"]])) == ['"a\nb","c\rd"\n']


@pytest.mark.parametrize("text", FORMULAS)
def test_the_cover_file_holds_no_formula(text: str) -> None:
    row = {"plot_id": text, "species_id": 7, "binomial": text, "name": "Poa annua L.", "coverage": 0.25, "count": 1}
    header, cells = csv.reader(io.StringIO(_csv([row]), newline=""))
    found = dict(zip(header, cells, strict=True))
    assert (found["plot_id"], found["binomial"]) == (f"'{text}", f"'{text}")
    assert (found["name"], found["coverage"]) == ("Poa annua L.", "0.25")


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_submission_keeps_the_names_of_its_plots(text: str, dialect: str) -> None:
    """Its form is prescribed, and the organisers compare the names of plots; what a dialect holds, it returns."""
    if can_hold(dialect, text):
        assert parse_submission(format_submission([(text, [1, 2])], dialect)) == [(text, [1, 2])]
    assert can_hold("2025", text)
