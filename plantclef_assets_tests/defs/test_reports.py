"""The embedding map: what it is made from, what it says, and where it is shown."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from dagster import AssetKey, DagsterInstance

from plantclef_assets.definitions import build_defs
from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models import separation as maps
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.test_materialization import failure, materialization_metadata, stamps
from plantclef_assets_tests.tiny import SPECIES, materialize, with_finetuned

OwnLake = Callable[..., Settings]
MAP = Artifact("embedding_map")


@pytest.fixture
def without_umap() -> Iterator[None]:
    """Lay maps out along principal axes: UMAP is compiled on first use, which takes longer than the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "LEAST_ROWS_FOR_UMAP", 1000)
        yield


def map_metadata(settings: Settings) -> dict:
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, "embedding_map", instance=instance).success
        return materialization_metadata(instance, "embedding_map")[None]


def files(settings: Settings) -> dict[str, bytes]:
    return {suffix: Path(settings.lake, f"embedding_map.{suffix}").read_bytes() for suffix in ("parquet", "png")}


def test_every_photograph_has_a_place_in_both_spaces(finetuned_lake: Settings) -> None:
    lake = Lake(finetuned_lake.lake)
    rows = lake.read(MAP).to_pylist()
    metadata = {row["image_name"]: row for row in lake.read(Artifact("training_metadata")).to_pylist()}
    for backbone in ("base", "finetuned"):
        own = [row for row in rows if row["backbone"] == backbone]
        assert {row["image_name"] for row in own} == set(metadata)
        assert {row["species_id"] for row in own} == set(SPECIES)
    for row in rows:
        assert row["held_out"] == (metadata[row["image_name"]]["learn_tag"] == "val")
        assert row["species_id"] == metadata[row["image_name"]]["species_id"]
    with open_catalog(lake) as catalog:
        assert catalog.sql("select count(*) from embedding_map where held_out").fetchall() == [(24,)]


def test_separation_is_that_of_the_features_of_held_out_photographs(finetuned_lake: Settings) -> None:
    lake = Lake(finetuned_lake.lake)
    record = lake.record(MAP)
    assert record is not None
    for backbone in ("base", "finetuned"):
        rows = [
            row for key in ("00", "01", "02") for row in lake.read(Artifact(f"{backbone}_embeddings", key)).to_pylist()
        ]
        for suffix, some in (("", [row for row in rows if row["learn_tag"] == "val"]), ("_all", rows)):
            vectors = np.array([row["cls"] for row in some], np.float32)
            wanted = maps.separation(vectors, np.array([row["species_id"] for row in some]))
            assert record.statistics[f"separation_{backbone}{suffix}"] == pytest.approx(wanted, abs=1e-6)
    assert record.statistics["photographs"] == 48
    assert record.statistics["photographs_held_out"] == 12


def test_picture_and_figures_are_in_the_metadata_also_of_a_no_op(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    before = stamps(settings)
    metadata = map_metadata(settings)
    assert metadata["state"] == "up to date"
    assert metadata["embedding_map"].startswith("![embedding map](data:image/png;base64,")
    assert len(metadata["embedding_map"]) < 100_000
    assert -1 <= metadata["separation_base"] <= 1
    assert -1 <= metadata["separation_finetuned"] <= 1
    assert stamps(settings) == before


@pytest.mark.usefixtures("without_umap")
def test_a_deleted_picture_is_drawn_again(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    before = files(settings)
    Path(settings.lake, "embedding_map.png").unlink()
    assert map_metadata(settings)["state"] == "made"
    assert files(settings) == before


@pytest.mark.usefixtures("without_umap")
def test_where_no_photograph_is_held_out_separation_is_not_defined(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "split_rows", lambda tags, *_, **__: (np.ones(len(tags), bool), np.zeros(len(tags), bool)))
        Lake(settings.lake).path(MAP).unlink()
        metadata = map_metadata(settings)
    assert "separation_base" not in metadata
    assert "separation_base_all" in metadata


def test_all_training_shards_are_needed(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    Lake(settings.lake).path(Artifact("finetuned_embeddings", "01")).unlink()
    assert "finetuned_embeddings/01 is not in the lake" in str(failure(materialize(settings, "embedding_map")))


def test_it_is_made_with_the_classifiers_and_never_with_training_shards(tiny_survey: Path, tmp_path: Path) -> None:
    defs = build_defs(with_finetuned(tiny_survey, tmp_path))
    jobs = {
        name: defs.resolve_job_def(name).asset_layer.selected_asset_keys for name in ("classifiers", "training_side")
    }
    assert AssetKey("embedding_map") in jobs["classifiers"]
    assert AssetKey("embedding_map") not in jobs["training_side"]


@pytest.mark.slow
def test_a_map_made_again_has_the_same_bytes(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    made = []
    for _ in range(2):
        for suffix in ("parquet", "png"):
            Path(settings.lake, f"embedding_map.{suffix}").unlink()
        assert map_metadata(settings)["state"] == "made"
        made.append(files(settings))
    assert made[0] == made[1]
    positions = np.column_stack([Lake(settings.lake).read(MAP).column(name).to_numpy() for name in ("x", "y")])
    assert np.isfinite(positions).all()
