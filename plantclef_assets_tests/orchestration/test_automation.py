"""Automation: what the sensor asks for, and when; nothing is run here."""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    evaluate_automation_conditions,
)

from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.orchestration.launching import refuse_command
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import materialize, tiny_settings, with_finetuned

SHARDS = ["00", "01", "02"]
BEFORE = datetime.datetime(2025, 6, 1, 2, 59, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


class Evenings:
    """Ticks of the sensor over an instance that knows what has been materialized, a minute apart."""

    def __init__(self, settings: Settings, instance: DagsterInstance, now: datetime.datetime = BEFORE) -> None:
        self.defs: Definitions = build_defs(settings)
        self.graph = self.defs.resolve_asset_graph()
        self.instance = instance
        self.cursor: Any = None
        self.now = now

    def tick(self) -> dict[str, list[str | None]]:
        """Evaluate once and give the partitions that are requested of each asset."""
        result = evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor, evaluation_time=self.now)
        self.cursor, self.now = result.cursor, self.now + MINUTE
        requested = {key: result.get_requested_partitions(key) for key in self.graph.get_all_asset_keys()}
        return {key.to_user_string(): sorted(keys, key=str) for key, keys in requested.items() if keys}

    def record(self, asset: str, keys: Iterable[str | None] | None = None) -> None:
        """Let partitions of an asset be materialized, all where none are named."""
        family = self.graph.get(AssetKey(asset)).partitions_def
        for key in keys if keys is not None else family.get_partition_keys() if family else [None]:
            self.instance.report_runless_asset_event(AssetMaterialization(asset, partition=key))

    def record_all_but(self, *missing: str) -> None:
        """Let every asset be materialized but some."""
        for key in self.graph.get_all_asset_keys():
            if key.to_user_string() not in missing:
                self.record(key.to_user_string())


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


AFTER_CLASSIFIERS = {"classifier", "tile_predictions", "species_cover", "submission", "leaderboard", "run_agreement"}
OF_CLASSIFIERS = ("val_predictions", "val_novelty")
CLASSIFIERS = {name: ["base_cls", "base_dct"] for name in ("classifier", *OF_CLASSIFIERS)}
"""The request for classifiers, with what is made of each in the same run."""


def test_only_missing_shards_are_asked_for_and_the_classifier_waits(
    tiny_survey: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    evenings = Evenings(tiny_settings(tiny_survey, tmp_path), instance)
    evenings.record_all_but("base_embeddings", "sweep", "validation_plots", *AFTER_CLASSIFIERS)
    evenings.record("base_embeddings", ["00", "02"])
    assert evenings.tick() == {}, "nothing happens before its time"
    requested = evenings.tick()
    assert requested.pop("validation_plots") == ["00", "01"], "it waits for other shards, which are all in"
    assert requested.pop("base_validation_tile_embeddings") == ["00", "01"]
    assert requested == {"base_embeddings": ["01"]}
    assert evenings.tick() == {}, "nothing is asked for twice"
    evenings.record("base_embeddings", ["01"])
    assert evenings.tick() == CLASSIFIERS
    evenings.record("classifier", ["base_cls"])
    assert evenings.tick() == {}
    evenings.record("classifier", ["base_dct"])
    assert evenings.tick() == {
        **{name: ["00", "01"] for name in ("tile_predictions", "tile_novelty", "species_cover")},
        **{name: ["base_dct"] for name in OF_CLASSIFIERS},
    }
    evenings.record("tile_predictions")
    assert set(evenings.tick()) >= {"submission"}
    evenings.record("submission")
    assert evenings.tick() == {"leaderboard": [None], "run_agreement": [None]}


def test_a_lake_that_is_empty_fills_from_one_tick_on(
    tiny_survey: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    settings = with_finetuned(tiny_survey, tmp_path)
    evenings = Evenings(settings, instance)
    graph = evenings.graph
    names = [key.to_user_string() for key in graph.toposorted_asset_keys]
    made: dict[str, list[str | None]] = {name: [] for name in names}
    for _ in range(14):
        requested = evenings.tick()
        for name in requested:
            for parent in graph.get(AssetKey(name)).parent_keys:
                assert made[parent.to_user_string()] or parent.to_user_string() in requested, f"{name} was too early"
        for name in names:
            evenings.record(name, requested.get(name, []))
            made[name] += requested.get(name, [])
    for name in names:
        family = graph.get(AssetKey(name)).partitions_def
        assert sorted(made[name], key=str) == (sorted(family.get_partition_keys()) if family else [None]), name


def test_fine_tuned_shards_do_not_hold_up_classifiers_on_the_base_backbone(
    tiny_survey: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    evenings = Evenings(with_finetuned(tiny_survey, tmp_path), instance)
    evenings.record_all_but("finetuned_embeddings", "classifier", "embedding_map", "sweep", *AFTER_CLASSIFIERS)
    evenings.record("finetuned_embeddings", ["00"])
    evenings.tick()
    requested = evenings.tick()
    assert requested["finetuned_embeddings"] == ["01", "02"]
    assert requested["classifier"] == ["base_cls", "base_dct"]
    assert "tile_predictions" not in requested
    assert "embedding_map" not in requested


def test_a_shard_that_is_made_anew_is_followed_but_a_shard_does_not_follow(
    tiny_survey: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    evenings = Evenings(tiny_settings(tiny_survey, tmp_path), instance)
    evenings.record_all_but()
    evenings.tick()
    evenings.record("raw_images", ["01"])
    assert set(evenings.tick()) == {"validation_plots", "base_validation_tile_embeddings", "figure_crops"}
    evenings.record("base_embeddings", ["01"])
    assert evenings.tick()["classifier"] == ["base_cls", "base_dct"]


def test_nothing_follows_what_a_blocking_check_found_wrong(
    tiny_survey: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    evenings = Evenings(tiny_settings(tiny_survey, tmp_path), instance)
    evenings.record_all_but("classifier")
    evenings.tick()
    evenings.record("base_embeddings", ["01"])
    checks = [evenings.graph.get(key) for key in evenings.graph.get(AssetKey("base_embeddings")).check_keys]
    blocking = next(check.key for check in checks if check.blocking)
    found = AssetCheckEvaluation(blocking.asset_key, blocking.name, False, {}, severity=AssetCheckSeverity.ERROR)
    instance.report_runless_asset_event(found)
    assert evenings.tick() == {}
    assert evenings.tick() == {}, "not even when its time has come"
    instance.report_runless_asset_event(AssetCheckEvaluation(blocking.asset_key, blocking.name, True, {}))
    assert evenings.tick() == CLASSIFIERS


def test_a_schedule_has_its_own_time_and_zone(tiny_survey: Path, tmp_path: Path, instance: DagsterInstance) -> None:
    settings = tiny_settings(tiny_survey, tmp_path, schedule="30 5 * * *", schedule_timezone="Asia/Tokyo")
    evenings = Evenings(settings, instance, BEFORE.replace(hour=20, minute=28))
    assert [set(evenings.tick()) for _ in range(2)] == [set(), set()]
    assert "training_metadata" in evenings.tick(), "half past five in Tokyo"


@pytest.mark.parametrize(
    ("schedule", "status"), [(None, DefaultSensorStatus.STOPPED), ("0 1 * * *", DefaultSensorStatus.RUNNING)]
)
def test_the_sensor_runs_where_a_schedule_is_set_and_else_waits_to_be_switched_on(
    tiny_survey: Path, tmp_path: Path, schedule: str | None, status: DefaultSensorStatus
) -> None:
    defs = build_defs(tiny_settings(tiny_survey, tmp_path, schedule=schedule))
    sensor = defs.resolve_sensor_def("materialize_missing")
    assert sensor.default_status is status


def test_a_range_on_the_command_line_is_refused_where_backfills_are_cut_up(tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path, shards_per_run=2)
    graph = build_graph(settings)
    command = click.Command("materialize")
    with click.Context(command) as context:
        context.params = {"partition_range": None, "partition": "00"}
        refuse_command(settings, graph)
        context.params = {"partition_range": "00...01", "partition": None}
        refuse_command(tiny_settings(tiny_survey, tmp_path), graph)
        with pytest.raises(click.ClickException, match="PLANTCLEF_SHARDS_PER_RUN: 2 cuts backfills") as refused:
            refuse_command(settings, graph)
    assert "\n" not in refused.value.message


def test_the_whole_chain_still_takes_a_range_where_backfills_are_cut_up(tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path, shards_per_run=1)
    assert materialize(settings, "training_metadata,class_map,training_manifest").success
    result = materialize(settings, "raw_images", first="00", last="02")
    assert result.success
    events = result.get_asset_materialization_events()
    assert sorted(str(event.partition) for event in events) == SHARDS
