"""The figures of the paper: what they show, that they are drawn the same again, and when they are drawn anew."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import DagsterInstance
from PIL import Image

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.test_materialization import materialization_metadata
from plantclef_assets_tests.tiny import SPECIES, materialize, tiny_settings

OwnLake = Callable[..., Settings]
FIGURES = {
    "figure_pipeline": ("training.png", "plots.png"),
    "figure_class_imbalance": ("png",),
    "figure_crops": ("jpg",),
    "figure_tiles": ("jpg",),
    "figure_f1_by_species": ("png",),
}


def rows_of(settings: Settings, figure: str) -> list[dict]:
    return Lake(settings.lake).read(Artifact(figure)).to_pylist()


def pictures(settings: Settings, figure: str) -> list[bytes]:
    return [Path(settings.lake, f"{figure}.{suffix}").read_bytes() for suffix in FIGURES[figure]]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_drawn_again_has_the_same_bytes(own_lake: OwnLake, figure: str) -> None:
    settings = own_lake()
    before = pictures(settings, figure)
    for data in before:
        with Image.open(io.BytesIO(data)) as picture:
            assert min(picture.size) > 150
            assert len(picture.convert("L").getcolors(256) or ()) > 20, "it is not blank"
    Lake(settings.lake).path(Artifact(figure)).unlink()
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, figure, instance=instance).success
        shown = materialization_metadata(instance, figure)[None]
    assert shown["state"] == "made"
    assert pictures(settings, figure) == before
    assert sum("data:image/" in str(value) for value in shown.values()) == len(before)


def test_the_class_imbalance_is_that_of_the_class_map(tiny_lake: Settings) -> None:
    rows = rows_of(tiny_lake, "figure_class_imbalance")
    assert {int(row["item"]): row["y"] for row in rows} == dict.fromkeys(SPECIES, 16)
    assert sorted(row["x"] for row in rows) == [1, 2, 3]


def test_crops_are_those_of_the_same_photographs(tiny_lake: Settings) -> None:
    rows = rows_of(tiny_lake, "figure_crops")
    stored = set(Lake(tiny_lake.lake).read(Artifact("resized_images", "00")).column("image_name").to_pylist())
    shown = {panel: [row["item"] for row in rows if row["panel"] == panel] for panel in ("original", "crop")}
    assert shown["original"] == shown["crop"]
    assert len(set(shown["crop"])) == 6
    assert set(shown["crop"]) <= stored


def test_tiles_are_labelled_by_their_likeliest_species(tiny_lake: Settings) -> None:
    run = tiny_lake.cover_run
    filters = [("feature_set", "=", run.feature_set), ("tiling", "=", run.tiling), ("rank", "=", 1)]
    best = Lake(tiny_lake.lake).read(Artifact("tile_predictions", "00"), filters=filters).to_pylist()
    wanted = {
        (row["tile_index"], float(row["x"]), float(row["y"]), f"Planta {row['species_id']}")
        for row in best
        if row["plot_id"] == best[0]["plot_id"]
    }
    rows = [row for row in rows_of(tiny_lake, "figure_tiles") if row["panel"] == run.tiling]
    assert {(int(row["item"]), row["x"], row["y"], row["label"]) for row in rows} == wanted


def test_every_rule_of_the_sweep_on_the_survey_is_a_point(tiny_lake: Settings) -> None:
    swept = Lake(tiny_lake.lake).read(Artifact("sweep")).to_pylist()
    wanted = sorted(
        (row["species_per_plot"], row["f1_plot"])
        for row in swept
        if row["part"] == "survey" and row["f1_plot"] is not None
    )
    rows = rows_of(tiny_lake, "figure_f1_by_species")
    assert sorted((row["x"], row["y"]) for row in rows) == wanted
    assert {row["label"] for row in rows} - {None} == set(tiny_lake.active_runs)


def test_the_pipeline_is_that_of_the_graph_and_is_drawn_anew_when_it_changes(
    own_lake: OwnLake, tiny_survey: Path, tmp_path: Path
) -> None:
    settings = own_lake()
    rows = rows_of(settings, "figure_pipeline")
    training = {row["item"]: row["x"] for row in rows if row["panel"] == "training"}
    plots = {row["item"]: row["x"] for row in rows if row["panel"] == "plots"}
    assets = build_graph(settings).assets
    assert "sweep" not in training | plots
    assert {"training_metadata", "base_embeddings", "classifier"} <= set(training)
    assert {"classifier", "tile_predictions", "leaderboard", "species_cover"} <= set(plots)
    for columns in (training, plots):
        for name in columns:
            for one in assets[name].inputs:
                assert one.asset not in columns or columns[one.asset] < columns[name]
    changed = own_lake(inbox=str(tmp_path))
    lineage = Lineage(Lake(changed.lake), build_graph(changed).recipes)
    assert "edges" in (lineage.stale(Artifact("figure_pipeline")) or "")


def test_only_figures_that_can_be_drawn_are_declared(tiny_survey: Path, tmp_path: Path) -> None:
    without_plots = build_graph(tiny_settings(tiny_survey, tmp_path, plot_images=None, plot_truth=None)).assets
    declared = {name for name in without_plots if name.startswith("figure_")}
    assert declared == {"figure_pipeline", "figure_class_imbalance", "figure_crops"}
    assert {job.name for job in without_plots["figure_pipeline"].jobs} == {"classifiers"}
