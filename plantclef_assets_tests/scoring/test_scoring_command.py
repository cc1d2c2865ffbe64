"""`python -m plantclef_assets.scoring`: from a table of scores to a submission to its scores."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from plantclef_assets.cli import scoring as command
from plantclef_assets.ingest.locations import PACKAGE_FOLDER
from plantclef_assets.scoring.submission_format import write_submission

PROFILES = PACKAGE_FOLDER / "profiles"
TABLE = """image_name;1355868;1355869;1355870
CBN-PdlC-A1-20130807.jpg;0.1;0.7;0.2
CBN-PdlC-B1-20130807.jpg;0;0;0.009
RNNB-8-8-20240118.jpeg;0.9;0.009;0.01
"""
SUBMISSIONS = {
    "2024": b"plot_id;species_ids\n"
    b"CBN-PdlC-A1-20130807;[1355869, 1355870, 1355868]\n"
    b"CBN-PdlC-B1-20130807;[]\n"
    b"RNNB-8-8-20240118;[1355868, 1355870]\n",
    "2025": b'"quadrat_id","species_ids"\n'
    b'"CBN-PdlC-A1-20130807","[1355869, 1355870, 1355868]"\n'
    b'"CBN-PdlC-B1-20130807","[]"\n'
    b'"RNNB-8-8-20240118","[1355868, 1355870]"\n',
}
TRUTH = """plot_id;species_ids
RNNB-8-8-20240118;[1355868, 1355870]
CBN-PdlC-A1-20130807;[1355869]
CBN-PdlC-B1-20130807;[1355869, 1355870]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scores.csv").write_text(TABLE)
    (tmp_path / "truth.csv").write_text(TRUTH)
    return tmp_path


def submit(folder: Path, *options: str) -> int:
    files = ["--scores", str(folder / "scores.csv"), "--output", str(folder / "out.csv")]
    return command.main(["submit", *files, "--min-score", "0.01", *options])


def score(folder: Path, *options: str) -> int:
    return command.main(
        ["score", "--submission", str(folder / "out.csv"), "--truth", str(folder / "truth.csv"), *options]
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dialect", SUBMISSIONS)
def test_a_submission_is_written_byte_for_byte_in_both_dialects(folder: Path, dialect: str) -> None:
    assert submit(folder, "--dialect", dialect) == 0
    assert (folder / "out.csv").read_bytes() == SUBMISSIONS[dialect]
    assert files(folder) == ["out.csv", "scores.csv", "truth.csv"]


@pytest.mark.parametrize("dialect", SUBMISSIONS)
def test_what_was_submitted_is_scored(folder: Path, dialect: str, capsys: pytest.CaptureFixture[str]) -> None:
    submit(folder, "--dialect", dialect)
    assert "3 plots, 1.667 species per plot, 1 plots without any" in capsys.readouterr().out
    assert score(folder) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "f1_plot": pytest.approx((0.5 + 0 + 1) / 3),  # 2·1/(2·1 + 2), nothing, all
        "f1_transect": pytest.approx((0.5 + 0 + 1) / 3),  # CBN-PdlC-A, CBN-PdlC-B, RNNB-8
        "f1_species": pytest.approx((2 / 3 + 2 / 3 + 2 / 4) / 3),
        "f1_micro": pytest.approx(6 / 10),
        "species_per_plot": pytest.approx(5 / 3),
        "plots": 3,
    }
    assert printed.err == ""


def test_names_of_plots_are_compared_in_their_normal_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["A-1", "caf\u00e9-1", "IMG_1.JPG", "IMG_1", "win-1"]
    others = ["A-1.jpg", " cafe\u0301-1 ", "IMG_1.JPG", "IMG_1.jpg", "x\\win-1.png"]
    for said, true in ((names, others), (others, names)):
        write_submission(folder / "out.csv", [(name, [number]) for number, name in enumerate(said, 1)], "2025")
        write_submission(folder / "truth.csv", [(name, [number]) for number, name in enumerate(true, 1)], "2024")
        assert score(folder) == 0
        scores = json.loads(capsys.readouterr().out)
        assert (scores["plots"], scores["f1_plot"]) == (5, 1.0)


def test_transects_are_those_of_the_profiles_unless_told_otherwise(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plots = ["CBN-PdlC-A1-20130807", "CBN-PdlC-A2-20130807", "CBN-PdlC-B1-20130807"]
    write_submission(folder / "truth.csv", [(plot, [1]) for plot in plots], "2024")
    write_submission(folder / "out.csv", zip(plots, [[2], [1], [1]], strict=True), "2025")
    for options, expected in (
        ([], (0.5 + 1) / 2),  # CBN-PdlC-A has both A1 and A2
        (["--transect-pattern", "^(CBN)-"], 2 / 3),
        (["--transect-pattern", "^(.*-A1)-", "--transect-pattern", "^(CBN)-"], 1 / 2),
    ):
        assert score(folder, *options) == 0
        assert json.loads(capsys.readouterr().out)["f1_transect"] == pytest.approx(expected)
    assert score(folder, "--transect-pattern", "^CBN") == 1
    assert "the transect pattern '^CBN' is not usable" in capsys.readouterr().err


def test_the_profiles_agree_on_what_a_transect_is() -> None:
    tables = [tomllib.loads((PROFILES / f"plantclef{year}.toml").read_text("utf-8")) for year in (2024, 2025)]
    assert tables[0]["transect_patterns"] == tables[1]["transect_patterns"]


def test_the_least_number_of_species_fills_empty_plots(folder: Path) -> None:
    assert submit(folder, "--min-species", "1") == 0
    assert b'"CBN-PdlC-B1-20130807","[1355870]"\n' in (folder / "out.csv").read_bytes()


def test_softmax_makes_probabilities_of_logits(folder: Path) -> None:
    (folder / "scores.csv").write_text("image_name;1;2;3\na.jpg;1;8;-5\nb.jpg;0;0;0\n")
    assert submit(folder, "--softmax", "--min-score", "0.3") == 0
    assert (folder / "out.csv").read_text() == '"quadrat_id","species_ids"\n"a","[2]"\n"b","[1, 2, 3]"\n'


def test_a_plot_on_one_side_only_is_an_error_unless_allowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submit(folder)
    (folder / "truth.csv").write_text(TRUTH.replace("RNNB-8-8-20240118", "RNNB-9-9-20240118"))
    capsys.readouterr()
    assert score(folder) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"{folder / 'out.csv'} cannot be scored by {folder / 'truth.csv'}: "
        "without a prediction: RNNB-9-9-20240118; without a truth: RNNB-8-8-20240118. "
        "--allow-missing scores the plots with a truth\n"
    )
    assert score(folder, "--allow-missing") == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["plots"], scores["f1_plot"]) == (3, pytest.approx(0.5 / 3))  # what is not answered is 0
    (folder / "truth.csv").write_text("plot_id;species_ids\nelsewhere;[1]\n")
    assert score(folder, "--allow-missing") == 1
    assert "they have no plot in common" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "out.csv",
            "plot_id;species_ids\na;[1]\na;[2]\n",
            "not a submission: plot 'a' occurs more than once",
        ),
        ("out.csv", "plot_id;species_ids\na;1\n", "out.csv is not a submission: line 2 is not a plot and a list"),
        ("out.csv", "plot_id;species_ids\na;" + "[" * 200_000, "out.csv is not a submission: it is not a CSV"),
        ("truth.csv", "", "truth.csv is not a submission: its first line is ''"),
        ("truth.csv", "plot_id;species_ids\n\n", "truth.csv is not a submission: it has a header, but no plot"),
        ("truth.csv", TRUTH + "RNNB-8-8-20240118;[7]\n", "plot 'RNNB-8-8-20240118' occurs more than once"),
        ("truth.csv", TRUTH + "x;[1, 0]\n", "truth.csv is not a submission: line 5: 0 of plot 'x' is not a species id"),
        ("truth.csv", None, "truth.csv cannot be read: No such file or directory"),
    ],
)
def test_files_that_cannot_be_scored_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, text: str | None, message: str
) -> None:
    submit(folder)
    (folder / file).unlink() if text is None else (folder / file).write_text(text)
    capsys.readouterr()
    assert score(folder) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err


@pytest.mark.parametrize("there", [True, False])
def test_a_table_that_breaks_off_leaves_the_output_as_it_was(
    folder: Path, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    if there:
        (folder / "out.csv").write_text("before")
    before = files(folder)
    (folder / "scores.csv").write_text(TABLE + "MIX-03-20240501.jpg;0.5;NaN;0\n")
    assert submit(folder) == 1
    assert capsys.readouterr().err == (
        f"{folder / 'scores.csv'} is not a table of scores: "
        "line 5, column 3 (species 1355869): 'NaN' is not a finite number\n"
    )
    assert files(folder) == before
    assert not there or (folder / "out.csv").read_text() == "before"


def test_an_output_that_cannot_be_written_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output, reason in (
        (folder / "none" / "out.csv", "cannot be written: No such file or directory"),
        (folder / "truth.csv" / "out.csv", "cannot be written: Not a directory"),
        (folder, "cannot be written: it exists and is not a regular file"),
        (folder / "scores.csv", "is the table of scores itself; choose another --output"),
    ):
        assert submit(folder, "--output", str(output)) == 1
        assert capsys.readouterr().err == f"{output} {reason}\n"
    assert (folder / "scores.csv").read_text() == TABLE
    (folder / "scores.csv").write_text("image_name;1\n" + '"a;b.jpg";1\n')
    assert submit(folder, "--dialect", "2024") == 1
    assert "the plot id 'a;b' cannot be written in dialect 2024" in capsys.readouterr().err
    assert files(folder) == ["scores.csv", "truth.csv"]


@pytest.mark.parametrize("options", [["--min-score", "nan"], ["--min-species", "-1"], ["--dialect", "2023"]])
def test_impossible_options_are_refused(folder: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        submit(folder, *options)
    assert refusal.value.code == 2


def test_the_commands_import_neither_torch_nor_dagster(folder: Path) -> None:
    code = "import sys, runpy; runpy.run_module('plantclef_assets.scoring', run_name='__main__', alter_sys=True)"
    watched = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {code}"
    pair = ["--scores", "scores.csv", "--output", "out.csv", "--min-score", "0.01"]
    for arguments in (["submit", *pair], ["score", "--submission", "out.csv", "--truth", "truth.csv"]):
        ran = subprocess.run(
            [sys.executable, "-c", watched, *arguments], cwd=folder, check=True, capture_output=True, text=True
        )
        loaded = set(ran.stderr.split())
        assert "plantclef_assets.scoring.score_tables" in loaded
        assert loaded & {"torch", "dagster", "timm", "pyspark", "pandas"} == set()
