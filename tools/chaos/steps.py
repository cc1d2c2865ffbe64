"""Steps: the artifacts that a fault disturbs together, and making them by their declared makers, without Dagster.

Dagster's own part of a run is covered by the kills of whole commands (`commands.py`).
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from dagster import build_asset_context

from plantclef_assets.engines.local import Outcome
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.orchestration.declaration import Asset, Graph
from plantclef_assets.orchestration.resources import AcceleratorResource, build_resources
from plantclef_assets.settings import Settings
from plantclef_assets_tests.inboxes import Sensor

DELIVERIES = "inbox_delivery"
LAST_DELIVERY = "01"


@dataclass(frozen=True)
class Step:
    """Assets that are removed and made again together.

    Attributes:
        name: of the step, as the table shows it.
        assets: in the order of the graph.
        first: assets to make again before, when an input was damaged.
    """

    name: str
    assets: tuple[str, ...]

    def holds(self, name: str) -> bool:
        """Whether a file of the lake belongs to the step."""
        if DELIVERIES in self.assets:
            return name == f"{DELIVERIES}/{LAST_DELIVERY}.parquet"
        name = name.removeprefix("quarantine/")
        return any(name.startswith((f"{asset}.", f"{asset}/")) for asset in self.assets)


STEPS = {
    step.name: step
    for step in (
        Step("metadata and class list", ("training_metadata", "class_map")),
        Step("manifests", ("training_manifest", "plot_manifest")),
        Step("photographs and plots", ("raw_images", "plot_images")),
        Step("resizing in worker processes", ("resized_images",)),
        Step("embeddings", ("base_embeddings", "base_tile_embeddings")),
        Step("fine-tuning with its state", ("finetuned_backbone",)),
        Step("classifiers", ("classifier", "val_predictions")),
        Step("predictions and cover", ("tile_predictions", "species_cover")),
        Step("submissions and leaderboard", ("submission", "leaderboard", "run_agreement")),
        Step("sweep", ("sweep",)),
        Step("report site and map", ("embedding_map", "plot_report")),
        Step("composed validation plots", ("validation_plots",)),
        Step("inbox delivery", (DELIVERIES,)),
        Step("plots of the inbox", ("inbox_plots", "inbox_predictions", "inbox_novelty", "inbox_cover")),
    )
}


def make_assets(settings: Settings, graph: Graph, assets: Sequence[str]) -> None:
    """Materialize the artifacts of some assets that are not up to date, in order.

    Raises:
        RuntimeError: an artifact could not be made; the others of its asset are made.
        MissingArtifactError, StaleInputError, DamagedArtifactError: an input cannot be used.
    """
    lake = Lake(settings.lake, settings.cache)
    for name in assets:
        if name == DELIVERIES:
            if not lake.exists(Artifact(DELIVERIES, LAST_DELIVERY)):
                Sensor(settings).requested()
            continue
        shards = list(_shards(lake, graph, graph.assets[name]))
        failed = [outcome for outcome in _make(graph.assets[name], settings, shards) if outcome.error]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(shards)} shards of {name} failed") from failed[0].error


def _shards(lake: Lake, graph: Graph, asset: Asset):
    lineage = Lineage(lake, graph.recipes)
    recipe = graph.recipes[asset.name]
    for artifact in recipe.artifacts:
        if asset.family and asset.family.reserve and not lake.exists(Artifact(DELIVERIES, artifact.partition)):
            continue
        lineage.require_inputs(artifact)
        provenance = lineage.expected(artifact, with_sources=True)
        try:
            current = lineage.is_current(artifact, provenance)
        except DamagedArtifactError:
            current = False
        if not current:
            yield Shard(artifact, provenance, recipe.origin.location if recipe.origin else None)


def _make(asset: Asset, settings: Settings, shards: list[Shard]) -> list[Outcome]:
    if not shards:
        return []
    resources = build_resources(settings)
    wanted = [name for name in inspect.signature(asset.body).parameters if name != "context"]
    make = asset.body(build_asset_context(), **{name: resources[name] for name in wanted})
    accelerator = resources["accelerator"]
    if not asset.accelerated or not isinstance(accelerator, AcceleratorResource):
        return list(make(shards))
    with accelerator.hold(print):
        return list(make(shards))
