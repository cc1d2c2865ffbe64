"""Photographs of one's own: a folder and a CSV with no more than names and species."""

from pathlib import Path

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.submission_format import read_submission
from plantclef_assets_tests.tiny import launches, materialize, tiny_settings


def test_names_and_species_are_enough_for_a_submission(tiny_survey: Path, tmp_path: Path) -> None:
    photographs = sorted((tiny_survey / "images").rglob("*.jpg"))
    lines = [f"{path.name},{path.parent.name}" for path in photographs]
    (tmp_path / "photographs.csv").write_text("\n".join(["image_name,species_id", *lines]) + "\n")
    settings = tiny_settings(
        tiny_survey, tmp_path / "lake", training_metadata=str(tmp_path / "photographs.csv"), plot_truth=None
    )
    for selection, first, last in launches(settings):
        assert materialize(settings, selection, first=first, last=last).success, selection
    lake = Lake(settings.lake)
    classifier = lake.record(Artifact("classifier", "base_cls", "safetensors"))
    assert classifier is not None
    figures = classifier.statistics
    assert figures["train_rows"] + figures["holdout_rows"] + figures["validation_rows"] == len(photographs)
    assert 0.05 < figures["validation_rows"] / len(photographs) < 0.4, "one in five validates"
    assert len(read_submission(Path(settings.lake, "submission", "base_cls_2x2.csv"))) == 4
    rows = lake.read(Artifact("leaderboard")).to_pylist()
    assert {row["f1_plot"] for row in rows} == {None}
    assert {row["plots_without_truth"] for row in rows} == {4}
