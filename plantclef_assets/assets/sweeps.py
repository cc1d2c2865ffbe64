"""Sweeps: which rule is best, found on plots whose species are known.

What belongs here: assets that try settings beside each other. What does not: what a run answers (`submissions.py`).
"""

from collections.abc import Callable, Mapping
from functools import partial

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset, source_file
from plantclef_assets.assets.pictures import sweep_table
from plantclef_assets.assets.submissions import scored_runs
from plantclef_assets.ingest.locations import is_demo
from plantclef_assets.ingest.validation_plots import read_truth
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.store import Lake
from plantclef_assets.models.features import split_feature_set
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import every_partition
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.recipes import swept_sources, tile_embeddings_of, tiled_sources
from plantclef_assets.scoring.leaderboard import read_plot_truth
from plantclef_assets.scoring.sweep import LabelledPlots, Sweep
from plantclef_assets.settings import Settings


def sweep_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module; there are none without plots whose species are known."""
    if not settings.sweeps:
        return []
    backbones = sorted({split_feature_set(run.feature_set)[0] for run in settings.active_runs.values()})
    features = [tile_embeddings_of(source, backbone) for source in swept_sources(settings) for backbone in backbones]
    waited_for = ["classifier", *features, *(["validation_plots"] if settings.composes_plots else [])]

    @platform_asset(
        "sweep",
        "sweeps",
        settings,
        recipes,
        kinds={"parquet"},
        deps=[
            *(AssetDep(asset, partition_mapping=every_partition()) for asset in waited_for),
            "class_map",
            *(["demo_survey"] if is_demo(settings.plot_truth) else []),
        ],
    )
    def sweep(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """Every rule of a grid over each feature set and tiling in use, scored on plots whose species are known.

        One half of the labelled plots is to choose a rule by; the other half, and the survey, say how good it is.
        """
        make = Sweep(
            lake.lake,
            _labelled_plots(settings, lake.lake, context.log.info),
            scored_runs(settings, context.log.info),
            settings.sweep.rules,
            settings.transect_patterns,
            settings.region_patterns,
            context.log.info,
        )
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make), sweep_table(lake.lake))

    return [sweep]


def _labelled_plots(settings: Settings, lake: Lake, log: Callable[[str], None]) -> list[LabelledPlots]:
    """Give the plots that are scored; only the first of them choose."""
    truth_of = {"validation_plots": partial(read_truth, lake, settings.validation.shard_keys)}
    truth = source_file(settings, settings.plot_truth, log)
    if truth is not None:
        truth_of["plot_images"] = partial(read_plot_truth, truth)
    return [
        LabelledPlots(
            embeddings=tile_embeddings_of(source, "").lstrip("_"),
            shards=tiled_sources(settings)[source],
            truth=truth_of[source],
            divided=number == 0,
        )
        for number, source in enumerate(swept_sources(settings))
    ]
