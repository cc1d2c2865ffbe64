"""The partition families that the settings ask for."""

from dataclasses import dataclass

from plantclef_assets.lake.keys import delivery_keys, shard_keys
from plantclef_assets.orchestration.declaration import Family
from plantclef_assets.settings import Settings


@dataclass(frozen=True)
class Families:
    """Four families of shards, the feature sets, and the runs of the result table."""

    training: Family
    plots: Family
    validation_plots: Family
    inbox: Family
    feature_sets: Family
    runs: Family


def build_families(settings: Settings) -> Families:
    """Return the families; the shards of the inbox are a reserve that deliveries take one by one."""
    return Families(
        training=Family("training", tuple(shard_keys(settings.training_shards)) if settings.has_training else ()),
        plots=Family("plots", tuple(shard_keys(settings.plot_shards))),
        validation_plots=Family("validation_plots", settings.validation.shard_keys),
        inbox=Family("inbox", tuple(delivery_keys(settings.inbox_shards)), reserve=True),
        feature_sets=Family("feature_sets", settings.feature_sets),
        runs=Family("runs", tuple(settings.active_runs)),
    )
