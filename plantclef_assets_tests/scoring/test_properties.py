"""Properties of submissions, truths, score tables and plot names: nothing is dropped, and errors are sentences."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from plantclef_assets.images.file_names import normal_plot_id
from plantclef_assets.scoring.leaderboard import read_plot_truth
from plantclef_assets.scoring.plot_names import place_of, region_of, transect_of
from plantclef_assets.scoring.score_tables import read_score_table
from plantclef_assets.scoring.species_lists import read_species_list
from plantclef_assets.scoring.submission_format import (
    DIALECTS,
    can_hold,
    format_submission,
    parse_submission,
    read_species_of_plots,
)
from plantclef_assets_tests.examples import damaged, few, fields, texts

IDS = st.lists(st.integers(1, 2**63 - 1), max_size=5)
DIALECT = st.sampled_from(sorted(DIALECTS))


@few
@given(rows=st.lists(st.tuples(texts | fields, IDS), max_size=8), dialect=DIALECT)
def test_a_written_submission_is_read_back_whole(rows: list[tuple[str, list[int]]], dialect: str) -> None:
    holds = [can_hold(dialect, plot) for plot, _ in rows]
    if all(holds):
        assert [tuple(row) for row in parse_submission(format_submission(rows, dialect))] == rows
        return
    refused = rows[holds.index(False)]
    try:
        format_submission([refused], dialect)
    except ValueError as error:
        assert repr(refused[0])[:10] in str(error) or refused[0] in str(error)
    else:
        raise AssertionError(f"{refused} is written, although it cannot be read back")


SUBMISSION = format_submission([(f"PLOT-{one}", [1363875, one + 1]) for one in range(5)], "2025").encode()


@few
@given(content=damaged(SUBMISSION))
def test_a_damaged_truth_is_read_whole_or_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes(content)
    try:
        truth = read_plot_truth(path)
    except ValueError as error:
        assert str(error).startswith(f"PLANTCLEF_PLOT_TRUTH: {path} is not a submission: ")
        return
    rows = parse_submission(content.decode())
    assert truth == {normal_plot_id(row.plot_id): row.species_ids for row in rows}
    assert len(truth) == len(rows) == len(read_species_of_plots(path))


SCORES = b"image_name,1355868,1363875\n" + b"".join(b"PLOT-%d.jpg,0.25,1e-3\n" % one for one in range(5))


@few
@given(content=damaged(SCORES))
def test_a_damaged_score_table_is_read_or_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    try:
        plots = list(read_score_table(path))
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert plots


@few
@given(content=damaged(b"species_id\n1355868\n1363875\n"))
def test_a_damaged_species_list_is_read_or_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "species.csv"
    path.write_bytes(content)
    try:
        species = read_species_list(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert species and all(one >= 1 for one in species)


@few
@given(plot=texts | fields, pattern=st.sampled_from(["", "(", "(a)", "(?P<x>.)", "[", ".*", "(.*)-"]) | texts)
def test_every_plot_has_a_place_a_region_and_a_transect(plot: str, pattern: str) -> None:
    assert place_of(plot) == plot or plot.startswith(place_of(plot))
    assert plot.startswith(region_of(plot)) and plot.startswith(transect_of(plot, []))
    try:
        named = transect_of(plot, [pattern]), region_of(plot, [pattern])
    except ValueError as error:
        assert repr(pattern) in str(error)
    else:
        assert all(isinstance(one, str) for one in named)
