"""Tilings of several scales and windows, and rules over the whole survey, from the settings to the leaderboard."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.submission_format import read_submission
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.chain_runs import evaluate_checks, evaluations
from plantclef_assets_tests.defs.lake_corruption import rewrite
from plantclef_assets_tests.tiny import copy_lake, failed_checks, materialize, tiny_settings

RUNS = """
[runs]
windows = { feature_set = "base_cls", tiling = "full+w120s80", aggregation = "vote", min_species = 1 }
scales = { feature_set = "base_cls", tiling = "3x3+2x2+1x1", aggregation = "bisection", mean_species_per_plot = 1.5 }
grid = { feature_set = "base_cls", tiling = "2x2", aggregation = "mean", species_per_plot = 1, revisits = "union" }
"""
TILES = {"windows": 1 + 3 * 3, "scales": 14, "grid": 4}
"""A plot is 240 × 240 px; windows begin at 0, 80 and 120 px."""


@pytest.fixture(scope="module")
def made(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a lake with three such runs; to be read only."""
    folder = tmp_path_factory.mktemp("tilings")
    (folder / "tilings.toml").write_text(RUNS)
    settings = tiny_settings(
        tiny_survey, folder / "lake", profile=str(folder / "tilings.toml"), training_shards=1, plot_shards=1
    )
    chain = (
        ("training_metadata,class_map,training_manifest,base_backbone,plot_manifest", None, None),
        ("raw_images,resized_images,base_embeddings", "00", None),
        ("classifier", "base_cls", None),
        ("plot_images,base_tile_embeddings,tile_predictions", "00", None),
        ("submission,leaderboard", "windows", "grid"),
    )
    for selection, first, last in chain:
        result = materialize(settings, selection, first=first, last=last)
        assert result.success, selection
        assert ("base_tile_embeddings", "every_tile") not in failed_checks(result)
    return settings


def test_every_plot_has_all_tiles_of_all_tilings(made: Settings) -> None:
    rows = Lake(made.lake).read(Artifact("base_tile_embeddings", "00")).to_pylist()
    assert len(rows) == 4 * sum(TILES.values())
    for name, run in made.active_runs.items():
        assert sum(row["tiling"] == run.tiling for row in rows) == 4 * TILES[name]
    shared = {(row["plot_id"], row["x"], row["y"], row["width"], tuple(row["cls"])) for row in rows}
    assert len(shared) == 4 * (14 + 9 - 4), "2x2 and full are in the scales, and the corner windows are 2x2"


def test_every_run_answers_by_its_rule(made: Settings) -> None:
    answers = {
        run: [row.species_ids for row in read_submission(Path(made.lake, "submission", f"{run}.csv"))]
        for run in made.active_runs
    }
    assert all(len(lists) == 4 for lists in answers.values())
    assert all(lists for lists in answers["windows"])
    assert sum(map(len, answers["scales"])) == 6
    assert [len(species) for species in answers["grid"]] == [1, 1, 1, 1], "no plot is visited twice"
    board = Lake(made.lake).read(Artifact("leaderboard")).to_pylist()
    assert {row["run"]: row["aggregation"] for row in board} == {
        "windows": "vote(min_species=1)",
        "scales": "bisection(mean_species_per_plot=1.5)",
        "grid": "mean(species_per_plot=1), union of revisits",
    }


@pytest.fixture
def own(made: Settings, tmp_path: Path) -> Settings:
    """The same in a copy of the lake that a test may change."""
    return made.model_copy(update={"lake": str(copy_lake(Path(made.lake), tmp_path / "lake"))})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.slice(0, len(table) - 1), "27 tiles of plot PLOT-3-20240501, not 28"),
        (lambda table: table.slice(28), "tiles of 3 plots, not 4"),
    ],
)
def test_a_lost_tile_is_noticed_where_the_size_of_the_plot_decides(
    own: Settings, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    rewrite(own, Artifact("base_tile_embeddings", "00"), change)
    found = evaluations(evaluate_checks(own, "base_tile_embeddings"), "base_tile_embeddings")["every_tile"]
    assert not found.passed
    assert said in str(found.description)


def test_progress_counts_each_picture_once(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from plantclef_assets.defs import embeddings

    totals = []
    progress = embeddings.Progress

    def recording(name: str, total: int, *rest: object) -> object:
        totals.append((name, total))
        return progress(name, total, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(embeddings, "Progress", recording)
    Lake(own.lake).path(Artifact("base_tile_embeddings", "00")).unlink()
    assert materialize(own, "base_tile_embeddings", first="00").success
    assert totals == [("plot_images", 4 * 19)]
