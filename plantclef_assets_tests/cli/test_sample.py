"""The real sample, from the command line: every asset of both sides, and how good the runs are."""

from pathlib import Path

import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.submission_format import read_submission
from plantclef_assets_tests.cli.commands import file_stamps, make_instance, materialize_command, run_command

pytestmark = [pytest.mark.slow, pytest.mark.sample, pytest.mark.first]
COMMANDS = (
    materialize_command("training_metadata,class_map,training_manifest,plot_manifest,base_backbone"),
    materialize_command("raw_images,resized_images,base_embeddings", "00", "03"),
    materialize_command("classifier", "base_dct", "base_cls"),
    materialize_command("plot_images,base_tile_embeddings,tile_predictions", "00", "01"),
    materialize_command("submission,leaderboard", "base_dct_full", "base_cls_4x4_max3"),
)


@pytest.fixture(scope="module")
def variables(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a chain over the sample in which everything is materialized."""
    folder = tmp_path_factory.mktemp("sample")
    found = {
        "DAGSTER_HOME": str(make_instance(folder / "home")),
        "PLANTCLEF_LAKE": str(folder / "lake"),
        "PLANTCLEF_TRAINING_METADATA": str(sample / "metadata.csv"),
        "PLANTCLEF_TRAINING_IMAGES": str(sample / "images"),
        "PLANTCLEF_PLOT_IMAGES": str(sample / "plots"),
        "PLANTCLEF_PLOT_TRUTH": str(sample / "plots_truth.csv"),
        "PLANTCLEF_BASE_MODEL": "vit_small_patch14_dinov2",
        "PLANTCLEF_BASE_WEIGHTS": str(sample.parent / "weights" / "dinov2_vits14.safetensors"),
        "PLANTCLEF_BASE_INPUT_SIZE": "224",
        "PLANTCLEF_FINETUNED_WEIGHTS": "none",
    }
    for command in COMMANDS:
        result = run_command(command, found)
        assert result.returncode == 0, result.stdout + result.stderr
    return found


def test_the_classifier_recognises_the_photographs(variables: dict[str, str]) -> None:
    record = Lake(variables["PLANTCLEF_LAKE"]).record(Artifact("classifier", "base_cls", "safetensors"))
    assert record is not None
    assert record.statistics["validation_rows"] == 170
    assert record.statistics["accuracy"] >= 0.92


def test_tiles_find_the_species_of_the_plots(variables: dict[str, str]) -> None:
    rows = Lake(variables["PLANTCLEF_LAKE"]).read(Artifact("leaderboard")).to_pylist()
    scores = {row["run"]: row["f1_plot"] for row in rows}
    assert {row["plots"] for row in rows} == {24}
    assert {row["plots_without_truth"] for row in rows} == {3}
    assert scores["base_cls_3x3"] >= 0.58
    assert scores["base_cls_4x4_max3"] >= 0.64
    assert scores["base_cls_full"] <= scores["base_cls_3x3"] - 0.3


def test_the_real_quadrats_are_answered(variables: dict[str, str]) -> None:
    submission = read_submission(Path(variables["PLANTCLEF_LAKE"], "submission", "base_cls_4x4_max3.csv"))
    answers = {row.plot_id: row.species_ids for row in submission}
    assert len(answers) == 27
    for quadrat in ("2024-CEV3-20240602", "CBN-can-A1-20230705", "RNNB-8-8-20240118"):
        assert len(answers[quadrat]) == 3


def test_a_second_materialization_does_no_work(variables: dict[str, str]) -> None:
    before = file_stamps(Path(variables["PLANTCLEF_LAKE"]))
    for command in COMMANDS:
        assert run_command(command, variables).returncode == 0
    assert file_stamps(Path(variables["PLANTCLEF_LAKE"])) == before
