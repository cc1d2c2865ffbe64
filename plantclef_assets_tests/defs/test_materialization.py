"""What happens around an asset's own work: no-ops, refusals, failures, and what Dagster is told of each shard."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from dagster import AssetKey, DagsterInstance

from plantclef_assets.definitions import build_defs
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.orchestration import metadata
from plantclef_assets.report import photographs
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import failed_checks, launches, materialize, materialized

OwnLake = Callable[..., Settings]


def stamps(settings: Settings) -> dict[str, int]:
    """Give the time of the last change of every file of a lake, in nanoseconds."""
    root = Path(settings.lake)
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def materialization_metadata(instance: DagsterInstance, asset: str) -> dict[str | None, dict]:
    """Give the metadata of each materialization of an asset by partition; there is one of each."""
    found = {}
    for record in instance.fetch_materializations(AssetKey(asset), limit=100).records:
        event = record.asset_materialization
        assert event is not None
        assert event.partition not in found, f"{asset}/{event.partition} was recorded twice"
        found[event.partition] = {name: value.value for name, value in event.metadata.items()}
    return found


def records_of(table: Any) -> list[Mapping[str, Any]]:
    """Return the rows of a table in metadata."""
    return [record.data for record in table.records]


def test_a_second_materialization_writes_nothing(own_lake: OwnLake) -> None:
    settings = own_lake()
    before = stamps(settings)
    for selection, first, last in launches(settings):
        assert materialize(settings, selection, first=first, last=last).success
    assert stamps(settings) == before


def test_a_launch_can_ask_for_what_is_up_to_date_to_be_made_again(own_lake: OwnLake) -> None:
    settings = own_lake()
    path = Lake(settings.lake).path(Artifact("plot_manifest"))
    content, stamp = path.read_bytes(), path.stat().st_mtime_ns
    job = build_defs(settings).resolve_job_def("plot_sources")
    with DagsterInstance.ephemeral() as instance:
        options = {"ops": {"plot_manifest": {"config": {"make_again": True}}}}
        assert job.execute_in_process(run_config=options, instance=instance).success
        assert materialization_metadata(instance, "plot_manifest")[None]["state"] == "made"
    assert path.stat().st_mtime_ns > stamp
    assert path.read_bytes() == content


def test_a_deleted_shard_alone_is_made_again_and_byte_for_byte(own_lake: OwnLake) -> None:
    settings = own_lake()
    lake = Lake(settings.lake)
    deleted = lake.path(Artifact("base_embeddings", "01"))
    content, before = deleted.read_bytes(), stamps(settings)
    deleted.unlink()
    assert materialize(settings, "base_embeddings", first="00", last="02").success
    assert deleted.read_bytes() == content
    changed = {name for name, stamp in stamps(settings).items() if before[name] != stamp}
    assert changed == {"base_embeddings/01.parquet", "quarantine/base_embeddings/01.parquet"}


def test_each_shard_of_a_range_has_one_materialization_with_its_own_metadata(own_lake: OwnLake) -> None:
    settings = own_lake()
    lake = Lake(settings.lake)
    lake.path(Artifact("resized_images", "01")).unlink()
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, "resized_images", first="00", last="02", instance=instance).success
        shards = materialization_metadata(instance, "resized_images")
    assert set(shards) == {"00", "01", "02"}
    for key, shown in shards.items():
        record = lake.record(Artifact("resized_images", key))
        assert record is not None
        assert shown["dagster/partition_row_count"] == record.rows
        assert shown["dagster/uri"] == lake.path(Artifact("resized_images", key)).as_uri()
        assert {column.name for column in shown["columns"].columns} >= {"image_name", "data"}
        assert shown["contact_sheet"].startswith("![contact sheet](data:image/jpeg;base64,")
    assert shards["01"]["state"] == "made"
    assert shards["01"]["images_per_second"] > 0
    assert shards["00"]["state"] == "up to date"
    assert "seconds" not in shards["00"]


def test_a_no_op_keeps_the_pictures_of_the_last_materialization_and_draws_none(
    own_lake: OwnLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_lake()
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, "resized_images", first="00", last="02", instance=instance).success
        drawn = materialization_metadata(instance, "resized_images")
        monkeypatch.setattr(photographs, "contact_sheet", lambda pictures: b"drawn again")
        assert materialize(settings, "resized_images", first="00", last="02", instance=instance).success
        records = instance.fetch_materializations(AssetKey("resized_images"), limit=3).records
        kept = {record.partition_key: record.asset_materialization for record in records}
        Lake(settings.lake).path(Artifact("resized_images", "01")).unlink()
        changed = own_lake(image_size=64)
        assert materialize(changed, "resized_images", first="00", last="02", instance=instance).success
        (latest,) = instance.fetch_materializations(AssetKey("resized_images"), limit=1).records
    for key, materialization in kept.items():
        assert materialization is not None
        assert materialization.metadata["contact_sheet"].value == drawn[key]["contact_sheet"]
    assert latest.asset_materialization is not None
    assert latest.asset_materialization.metadata["state"].value == "made"
    assert latest.asset_materialization.metadata["contact_sheet"].value != drawn[latest.partition_key]["contact_sheet"]


def test_a_no_op_draws_few_pictures_where_no_event_has_them(own_lake: OwnLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "_DRAWN_AGAIN", 2)
    with DagsterInstance.ephemeral() as instance:
        assert materialize(own_lake(), "resized_images", first="00", last="02", instance=instance).success
        shown = materialization_metadata(instance, "resized_images")
    assert {key: "contact_sheet" in values for key, values in shown.items()} == {"00": True, "01": True, "02": False}


def test_results_come_first_then_pictures_then_files_and_provenance_last(own_lake: OwnLake) -> None:
    settings = own_lake()
    report = Path(settings.lake, "plot_report", "index.html")
    report.parent.mkdir(exist_ok=True)
    report.write_text("<p>The report")
    with DagsterInstance.ephemeral() as instance:
        for asset, keys in (
            ("leaderboard", {}),
            ("species_cover", {"first": "00"}),
            ("classifier", {"first": "base_cls"}),
        ):
            assert materialize(settings, asset, instance=instance, **keys).success
        shown = {
            asset: next(iter(materialization_metadata(instance, asset).values()))
            for asset in ("leaderboard", "species_cover", "classifier")
        }
    first = ["f1_plot", "f1_transect", "f1_species", "leaderboard", "report", "state"]
    assert [*shown["leaderboard"]][:6] == first
    best = Lake(settings.lake).read(Artifact("leaderboard"), ["f1_plot"]).column("f1_plot")[0].as_py()
    assert shown["leaderboard"]["f1_plot"] == pytest.approx(best, rel=1e-3)
    assert len(str(shown["leaderboard"]["f1_plot"])) <= len("0.1234")
    cover = [name for name in shown["species_cover"] if name not in ("covered_plot", "columns")]
    assert cover[:8] == [
        "run",
        "species_per_plot",
        "mean_uncovered",
        "plots_without_species",
        "preview",
        "csv",
        "json",
        "report",
    ]
    assert shown["species_cover"]["csv"] == str(Path(settings.lake, "species_cover", "00.csv"))
    assert shown["species_cover"]["report"] == str(report)
    assert [*shown["classifier"]][:4] == ["accuracy", "accuracy_top5", "macro_f1", "ece"]
    for values in shown.values():
        assert [*values][-2:] == ["fingerprint", "provenance"]


def test_pictures_and_previews_are_in_the_metadata(own_lake: OwnLake) -> None:
    settings = own_lake()
    for one in (Artifact("tile_predictions", "00"), Artifact("submission", "base_cls_full")):
        Lake(settings.lake).path(one).unlink()
    with DagsterInstance.ephemeral() as instance:
        materialize(settings, "tile_predictions", first="00", last="01", instance=instance)
        materialize(settings, "submission,leaderboard", first="base_cls_full", instance=instance)
        tiles = materialization_metadata(instance, "tile_predictions")
        submission = materialization_metadata(instance, "submission")
        leaderboard = materialization_metadata(instance, "leaderboard")
    assert "data:image/jpeg;base64," in tiles["00"]["tiled_plot"]
    assert sum(record["tiles"] for record in records_of(tiles["00"]["species_of_tiles"])) == 4
    assert records_of(submission["base_cls_full"]["preview"])[0]["plot_id"] == "PLOT-0-20240501"
    assert "base_dct_2x2_max2" in [record["run"] for record in records_of(leaderboard[None]["leaderboard"])]


def test_other_settings_make_downstream_refuse_what_was_made_with_the_old(own_lake: OwnLake) -> None:
    settings = own_lake(image_size=64)
    result = materialize(settings, "base_embeddings", first="00", last="02")
    assert not result.success
    message = str(failure(result))
    assert "base_embeddings/00 needs resized_images/00" in message
    assert "image_size 48 instead of 64" in message


def test_a_changed_input_is_refused_with_both_fingerprints(own_lake: OwnLake) -> None:
    settings = own_lake()
    lake = Lake(settings.lake)
    old = lake.record(Artifact("resized_images", "00"))
    changed = own_lake(image_size=64)
    assert materialize(changed, "resized_images", first="00").success
    new = lake.record(Artifact("resized_images", "00"))
    assert old is not None
    assert new is not None
    message = str(failure(materialize(changed, "classifier", first="base_dct", last="base_cls")))
    assert old.fingerprint[:12] in message
    assert new.fingerprint[:12] in message


def test_a_deleted_csv_is_written_again(own_lake: OwnLake) -> None:
    settings = own_lake()
    deleted = Path(settings.lake, "submission", "base_cls_full.2024.csv")
    content = deleted.read_bytes()
    deleted.unlink()
    assert materialize(settings, "submission", first="base_cls_full").success
    assert deleted.read_bytes() == content


def test_an_identical_rebuild_upstream_leaves_downstream_valid(own_lake: OwnLake) -> None:
    settings = own_lake()
    lake = Lake(settings.lake)
    before = stamps(settings)
    lake.path(Artifact("raw_images", "00")).unlink()
    assert materialize(settings, "raw_images,resized_images,base_embeddings", first="00", last="02").success
    changed = {name for name, stamp in stamps(settings).items() if before[name] != stamp}
    assert changed == {"raw_images/00.parquet", "quarantine/raw_images/00.parquet"}


def test_a_shard_that_fails_leaves_the_others_finished_and_recorded(own_lake: OwnLake) -> None:
    settings = own_lake()
    lake = Lake(settings.lake)
    for key in ("00", "01", "02"):
        lake.path(Artifact("resized_images", key)).unlink()
    lake.path(Artifact("raw_images", "01")).unlink()
    with DagsterInstance.ephemeral() as instance:
        result = materialize(settings, "resized_images,base_embeddings", first="00", last="02", instance=instance)
        recorded = materialization_metadata(instance, "resized_images")
    assert not result.success
    assert set(recorded) == {"00", "02"}
    assert lake.exists(Artifact("resized_images", "00"))
    assert not lake.exists(Artifact("resized_images", "01"))
    assert "raw_images/01 is not in the lake" in str(failure(result))
    assert "base_embeddings" not in materialized(result)


def test_the_leaderboard_waits_for_all_submissions(own_lake: OwnLake) -> None:
    settings = own_lake()
    Lake(settings.lake).path(Artifact("submission", "base_cls_2x2")).unlink()
    result = materialize(settings, "leaderboard")
    assert "submission/base_cls_2x2 is not in the lake" in str(failure(result))


def test_a_new_plot_photograph_shows_up_as_stale_before_anything_is_made(own_lake: OwnLake, tiny_survey: Path) -> None:
    settings = own_lake()
    extra = tiny_survey / "plots" / "PLOT-9-20240501.jpg"
    extra.write_bytes((tiny_survey / "plots" / "PLOT-0-20240501.jpg").read_bytes())
    try:
        from dagster import AssetCheckKey

        job = build_defs(settings).resolve_implicit_global_asset_job_def()
        with DagsterInstance.ephemeral() as instance:
            result = job.get_subset(
                asset_selection=set(), asset_check_selection={AssetCheckKey(AssetKey("plot_manifest"), "up_to_date")}
            ).execute_in_process(instance=instance)
    finally:
        extra.unlink()
    assert failed_checks(result) == {("plot_manifest", "up_to_date")}


def test_finetuned_assets_run_through_the_same_factory(finetuned_lake: Settings) -> None:
    lake = Lake(finetuned_lake.lake)
    runs = lake.read(Artifact("leaderboard")).column("run").to_pylist()
    assert "finetuned_cls_full" in runs
    assert "dct" not in lake.read(Artifact("finetuned_embeddings", "00")).column_names


def failure(result) -> BaseException | None:
    """Give what the first failed step says."""
    assert not result.success
    event = next(event for event in result.all_events if event.is_step_failure)
    return event.step_failure_data.error.message and RuntimeError(event.step_failure_data.error.to_string())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_a_sentence_that_names_the_variable(own_lake: OwnLake) -> None:
    message = str(failure(materialize(own_lake(device="cuda"), "base_embeddings", first="00", last="02")))
    assert "PLANTCLEF_DEVICE: device 'cuda' is not available" in message


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_leaves_no_trace(own_lake: OwnLake, workers: int) -> None:
    settings = own_lake(workers=workers)
    lake = Lake(settings.lake)
    contents = {}
    for key in ("00", "01", "02"):
        path = lake.path(Artifact("resized_images", key))
        contents[path] = path.read_bytes()
        path.unlink()
    assert materialize(settings, "resized_images", first="00", last="02").success
    assert {path: path.read_bytes() for path in contents} == contents
