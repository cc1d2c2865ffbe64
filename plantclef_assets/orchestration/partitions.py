"""Partition families and the mappings between them.

What belongs here: which keys each family has, and which upstream keys a downstream key waits for. Between different
static families Dagster's default mapping is identity, which would silently let downstream run with nothing upstream,
so every edge between two families names one of the mappings below.
(https://docs.dagster.io/guides/build/partitions-and-backfills)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dagster import AllPartitionMapping, PartitionMapping, StaticPartitionMapping, StaticPartitionsDefinition

from plantclef_assets.lake.keys import delivery_keys, shard_keys
from plantclef_assets.settings import Settings
from plantclef_assets.settings.runs import RunSettings


@dataclass(frozen=True)
class Families:
    """The partition families that the settings give."""

    training: StaticPartitionsDefinition
    plots: StaticPartitionsDefinition
    validation_plots: StaticPartitionsDefinition
    inbox: StaticPartitionsDefinition
    feature_sets: StaticPartitionsDefinition
    runs: StaticPartitionsDefinition

    def of_plots(self, source: str) -> StaticPartitionsDefinition:
        """Give the family of the assets that are about the plots of a source."""
        return {"validation_plots": self.validation_plots, "inbox_plots": self.inbox}.get(source, self.plots)


def build_families(settings: Settings) -> Families:
    """Make the families: four of shards, the feature sets, and the runs of the result table.

    The shards of the inbox are a declared reserve that deliveries take one by one.
    """
    return Families(
        training=StaticPartitionsDefinition(shard_keys(settings.training_shards)),
        plots=StaticPartitionsDefinition(shard_keys(settings.plot_shards)),
        validation_plots=StaticPartitionsDefinition(list(settings.validation.shard_keys)),
        inbox=StaticPartitionsDefinition(delivery_keys(settings.inbox_shards)),
        feature_sets=StaticPartitionsDefinition(list(settings.feature_sets)),
        runs=StaticPartitionsDefinition(list(settings.active_runs)),
    )


def every_shard_of(backbone: str, settings: Settings) -> PartitionMapping:
    """Let a feature set wait for every training shard of its own backbone, and for no other's."""
    own = {name for name in settings.feature_sets if name.startswith(f"{backbone}_")}
    return StaticPartitionMapping(dict.fromkeys(shard_keys(settings.training_shards), own))


def used_feature_sets(shards: Iterable[str], settings: Settings) -> PartitionMapping:
    """Let every shard of plots wait for the classifiers that some run uses."""
    plots = set(shards)
    return StaticPartitionMapping({run.feature_set: plots for run in settings.active_runs.values()})


def read_by_runs(
    keys: Iterable[str], reads: Callable[[str, RunSettings], bool], settings: Settings
) -> PartitionMapping:
    """Let each run wait for those upstream keys that it reads."""
    runs = settings.active_runs.items()
    return StaticPartitionMapping({key: {name for name, run in runs if reads(key, run)} for key in keys})


def every_partition() -> PartitionMapping:
    """Let each downstream key wait for all upstream keys."""
    return AllPartitionMapping()
