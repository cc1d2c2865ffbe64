"""Inputs that change during a run, and runs that did the work while another waited for the accelerator."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plantclef_assets.engines import local
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models import backbone_files as backbones
from plantclef_assets.orchestration.resources import AcceleratorResource
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.lake_corruption import rewrite, rewrite_backbone
from plantclef_assets_tests.tiny import materialize

OwnLake = Callable[..., Settings]
MANIFEST, RESIZED, TILES = Artifact("training_manifest"), Artifact("resized_images", "00"), "base_tile_embeddings"


def contents(settings: Settings) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(settings.lake).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("asset", "partition", "replaced"),
    [
        ("class_map", None, Artifact("training_metadata")),
        ("training_manifest", None, Artifact("training_metadata")),
        ("raw_images", "00", MANIFEST),
        ("resized_images", "00", Artifact("raw_images", "00")),
        ("base_embeddings", "00", RESIZED),
        ("classifier", "base_cls", Artifact("base_embeddings", "01")),
        ("base_tile_embeddings", "00", Artifact("plot_images", "00")),
        ("validation_plots", "00", RESIZED),
        ("tile_predictions", "00", Artifact(TILES, "00")),
        ("species_cover", "00", Artifact("tile_predictions", "00")),
        ("submission", "base_cls_2x2", Artifact("tile_predictions", "01")),
        ("leaderboard", None, Artifact("submission", "base_cls_2x2")),
        ("sweep", None, Artifact(TILES, "00")),
    ],
)
def test_what_was_made_while_an_input_was_replaced_is_not_published(
    asset: str, partition: str | None, replaced: Artifact, own_lake: OwnLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_lake()
    suffix = "safetensors" if asset == "classifier" else "parquet"
    Lake(settings.lake).path(Artifact(asset, partition, suffix)).unlink()
    made_here = local.make_shard
    before: dict[Path, bytes] = {}

    def make_shard(make: local.MakeShard, shard: Shard) -> local.Outcome:
        rewrite(settings, replaced, lambda table: table.slice(0, table.num_rows - 1))  # as another run would
        before.update(contents(settings))
        return made_here(make, shard)

    monkeypatch.setattr(local, "make_shard", make_shard)
    result = materialize(settings, asset, first=partition)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert f"its input {replaced} was replaced in the meantime" in event.step_failure_data.error.message
    assert contents(settings) == before, "neither it, nor what lies beside it, nor its quarantine"
    monkeypatch.undo()
    assert materialize(settings, asset, first=partition).success or asset == "training_manifest"


def test_a_backbone_that_was_replaced_while_it_embedded_is_noticed(
    own_lake: OwnLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_lake()
    path = Lake(settings.lake).path(Artifact("base_embeddings", "00"))
    path.unlink()
    made_here = local.make_shard

    def make_shard(make: local.MakeShard, shard: Shard) -> local.Outcome:
        weights = Artifact("base_backbone", suffix="safetensors")
        record = Lake(settings.lake).record(weights)
        assert record is not None
        stamp_fingerprint(settings, "0" * len(record.fingerprint))
        return made_here(make, shard)

    monkeypatch.setattr(local, "make_shard", make_shard)
    result = materialize(settings, "base_embeddings", first="00")
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert "its input base_backbone was replaced in the meantime" in event.step_failure_data.error.message
    assert not path.exists()


def stamp_fingerprint(settings: Settings, fingerprint: str) -> None:
    """Replace the backbone with one of other weights."""
    from plantclef_assets_tests.defs import lake_corruption as lake_damage

    with pytest.MonkeyPatch.context() as patch:
        stamp = lake_damage.record_metadata
        patch.setattr(
            lake_damage, "record_metadata", lambda provenance, _, figures: stamp(provenance, fingerprint, figures)
        )
        rewrite_backbone(settings, "base_backbone")


def test_a_fine_tuning_whose_photographs_were_replaced_leaves_no_state_to_go_on_from(
    own_finetuned_lake: OwnLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_finetuned_lake()
    Lake(settings.lake).path(Artifact("finetuned_backbone", suffix="safetensors")).unlink()
    made_here = local.make_shard

    def make_shard(make: local.MakeShard, shard: Shard) -> local.Outcome:
        rewrite(settings, RESIZED, lambda table: table.slice(0, table.num_rows - 1))
        return made_here(make, shard)

    monkeypatch.setattr(local, "make_shard", make_shard)
    result = materialize(settings, "finetuned_backbone")
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert "its input resized_images/00 was replaced in the meantime" in event.step_failure_data.error.message
    assert not list(Path(settings.lake, "training").glob("*.pt"))


def test_what_another_run_embedded_while_this_one_waited_is_not_embedded_again(
    own_lake: OwnLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_lake()
    made = Path(settings.lake, "base_embeddings")
    shutil.move(made, tmp_path / "made")
    hold = AcceleratorResource.hold

    @contextmanager
    def hold_after_another_run(self: AcceleratorResource, log: Callable[[str], None]) -> Iterator[None]:
        with hold(self, log):
            shutil.copytree(tmp_path / "made", made)
            yield

    def opened(*_: object) -> None:
        raise AssertionError("the backbone was loaded for nothing")

    monkeypatch.setattr(AcceleratorResource, "hold", hold_after_another_run)
    monkeypatch.setattr(backbones, "open_backbone", opened)
    result = materialize(settings, "base_embeddings", first="00", last="02")
    assert result.success
    states = [event.materialization.metadata["state"].value for event in result.get_asset_materialization_events()]
    assert states == ["up to date"] * 3


def test_nothing_waits_for_the_accelerator_where_all_is_up_to_date(
    own_lake: OwnLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold(self: AcceleratorResource, log: Callable[[str], None]) -> None:
        raise AssertionError("the accelerator was asked for")

    monkeypatch.setattr(AcceleratorResource, "hold", hold)
    assert materialize(own_lake(), "base_embeddings", first="00", last="02").success
