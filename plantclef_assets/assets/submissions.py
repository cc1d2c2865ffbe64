"""Submissions: one list of species for each plot, and how good the lists are.

What belongs here: assets that aggregate tile predictions and score the result.
"""

from collections.abc import Mapping

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset, source_file
from plantclef_assets.assets.pictures import leaderboard_table, submission_preview
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.locations import is_demo
from plantclef_assets.materialization import in_this_process, materialize
from plantclef_assets.partitions import Families, every_partition
from plantclef_assets.resources import LakeResource
from plantclef_assets.scoring.artifacts import Leaderboard, Run, Submissions
from plantclef_assets.settings import Settings


def submission_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module; there are none without plots."""
    if not settings.has_plots:
        return []
    runs = {
        name: Run(run.feature_set, run.tiling, run.aggregation, run.aggregation_parameters, run.revisits)
        for name, run in settings.active_runs.items()
    }

    @platform_asset(
        "submission",
        "submissions",
        settings,
        recipes,
        kinds={"csv", "parquet"},
        partitions=families.runs,
        deps=[AssetDep("tile_predictions", partition_mapping=every_partition()), "plot_manifest", "class_map"],
    )
    def submission(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The species of every plot by one run, as the challenge wants them, in both dialects."""
        make = Submissions(lake.lake, runs, shard_keys(settings.plot_shards), settings.dialect)
        return materialize(
            context, Lineage(lake.lake, recipes), in_this_process(make), submission_preview(lake.lake, settings.dialect)
        )

    @platform_asset(
        "leaderboard",
        "submissions",
        settings,
        recipes,
        kinds={"parquet"},
        deps=["submission", *(["demo_survey"] if is_demo(settings.plot_truth) else [])],
    )
    def leaderboard(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """Every run scored over the plots whose species are known."""
        truth = source_file(settings, settings.plot_truth, context.log.info)
        make = Leaderboard(lake.lake, runs, truth, settings.transect_patterns)
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make), leaderboard_table(lake.lake))

    return [submission, leaderboard]
