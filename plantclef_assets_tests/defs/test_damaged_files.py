"""Damaged files of a lake: their shard fails in one sentence or is made again, and the others run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import ExecuteInProcessResult

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.lake.corruptions import flip_bytes, flip_page
from plantclef_assets_tests.tiny import failed_checks, materialize

OwnLake = Callable[..., Settings]
DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: flip_page(path, "image_name"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "malformed": lambda path: path.write_bytes(b"image_name,species_id\n" * 50),
}


def path_of(settings: Settings, artifact: Artifact) -> Path:
    path = Lake(settings.lake).path(artifact)
    assert isinstance(path, Path)
    return path


def failure_of(result: ExecuteInProcessResult) -> str:
    """Return what the failed step says."""
    (data,) = [event.step_failure_data for event in result.all_node_events if event.is_step_failure]
    assert data.error
    return data.error.message


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_input_fails_its_shard_alone(own_lake: OwnLake, damage: str) -> None:
    settings = own_lake()
    damaged = path_of(settings, Artifact("resized_images", "01"))
    made = [path_of(settings, Artifact("base_embeddings", key)) for key in ("00", "01", "02")]
    contents = [path.read_bytes() for path in made]
    for path in made:
        path.unlink()
    intact = damaged.read_bytes()
    DAMAGES[damage](damaged)
    result = materialize(settings, "base_embeddings", first="00", last="02")
    assert not result.success
    said = failure_of(result)
    assert "base_embeddings/01: resized_images/01 is damaged (" in said
    assert f"; delete {damaged} and materialize resized_images again\n" in said + "\n"
    assert [path.exists() for path in made] == [True, False, True]
    damaged.unlink()
    assert materialize(settings, "resized_images,base_embeddings", first="00", last="02").success
    assert damaged.read_bytes() == intact
    assert [path.read_bytes() for path in made] == contents


@pytest.mark.parametrize("damage", ["truncated", "empty", "malformed"])
def test_a_damaged_artifact_is_made_again_when_it_is_asked_for(own_lake: OwnLake, damage: str) -> None:
    settings = own_lake()
    damaged = path_of(settings, Artifact("resized_images", "01"))
    intact = damaged.read_bytes()
    DAMAGES[damage](damaged)
    assert materialize(settings, "resized_images", first="00", last="02").success
    assert damaged.read_bytes() == intact


def test_damaged_sizes_of_plots_fail_their_shard_alone(own_lake: OwnLake) -> None:
    settings = own_lake()
    flip_page(path_of(settings, Artifact("plot_images", "00")), "width")
    made = [path_of(settings, Artifact("base_tile_embeddings", key)) for key in ("00", "01")]
    for path in made:
        path.unlink()
    result = materialize(settings, "base_tile_embeddings", first="00", last="01")
    assert "base_tile_embeddings/00: plot_images/00 is damaged (" in failure_of(result)
    assert [path.exists() for path in made] == [False, True]


@pytest.mark.parametrize("asset", ["class_map", "training_manifest"])
def test_a_damaged_table_that_sql_reads_is_found(own_lake: OwnLake, asset: str) -> None:
    settings = own_lake()
    flip_page(path_of(settings, Artifact("training_metadata")), "species_id")
    path_of(settings, Artifact(asset)).unlink()
    result = materialize(settings, asset)
    assert f"{asset}: training_metadata is damaged (" in failure_of(result)


def test_a_file_in_the_place_of_another_is_not_read(own_lake: OwnLake) -> None:
    settings = own_lake()
    shutil.copy(path_of(settings, Artifact("raw_images", "00")), path_of(settings, Artifact("raw_images", "01")))
    result = materialize(settings, "resized_images", first="00", last="02")
    assert (
        "resized_images/01: resized_images/01 needs raw_images/01, but raw_images/01 is the file of raw_images/00; "
        "materialize raw_images again first"
    ) in failure_of(result)
    assert materialize(settings, "raw_images,resized_images", first="00", last="02").success


@pytest.mark.parametrize("artifact", ["classifier/base_cls", "base_backbone"])
def test_damaged_tensors_answer_nothing(own_lake: OwnLake, artifact: str) -> None:
    settings = own_lake()
    asset, _, key = artifact.partition("/")
    path = path_of(settings, Artifact(asset, key or None, "safetensors"))
    flip_bytes(path, path.stat().st_size - 8)
    follows = "tile_predictions" if key else "base_tile_embeddings"
    for shard in ("00", "01"):
        path_of(settings, Artifact(follows, shard)).unlink()
    result = materialize(settings, follows, first="00", last="01")
    assert f"{path} is damaged: its tensors are not those that were written; delete it" in failure_of(result)


def test_checks_name_a_damaged_file_and_look_at_the_others(own_lake: OwnLake) -> None:
    settings = own_lake()
    path_of(settings, Artifact("resized_images", "02")).write_bytes(b"PAR1")
    # The run is for another shard, so that the damaged one is not made again.
    result = materialize(settings, "resized_images", first="00")
    assert result.success
    evaluations = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert ("resized_images", "rows_accounted") in failed_checks(result)
    description = evaluations["rows_accounted"].description or ""
    assert description.startswith("resized_images/02 is damaged (")
    assert evaluations["rows_accounted"].metadata["artifacts_judged"].value == 2
    assert evaluations["rows_accounted"].metadata["artifacts_missing"].value == 0
