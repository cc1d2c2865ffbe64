"""Submissions: one list of species for each plot, and how good the lists are.

What belongs here: assets that aggregate what was seen in tiles, and that score and compare the results.
"""

from collections.abc import Callable, Mapping

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets import pictures
from plantclef_assets.assets.common import advice, platform_asset, source_file
from plantclef_assets.ingest.locations import is_demo
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.models.features import split_feature_set
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import Families, every_partition, read_by_runs
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.scoring.agreement import RunAgreement
from plantclef_assets.scoring.leaderboard import Leaderboard
from plantclef_assets.scoring.rules import Run
from plantclef_assets.scoring.submissions import Submissions
from plantclef_assets.settings import Settings
from plantclef_assets.settings.tables import RunSettings


def submission_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module; there are none without plots."""
    if not settings.has_plots:
        return []

    @platform_asset(
        "submission",
        "submissions",
        settings,
        recipes,
        kinds={"csv", "parquet"},
        partitions=families.runs,
        deps=[*_seen_in_tiles(settings), "plot_manifest", "class_map"],
    )
    def submission(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The species of every plot by one run, as the challenge wants them, in both dialects."""
        shards = shard_keys(settings.plot_shards)
        make = Submissions(
            lake.lake, scored_runs(settings, context.log.info), shards, settings.dialect, settings.region_patterns
        )
        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            pictures.submission_preview(lake.lake, settings.dialect),
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
        make = Leaderboard(lake.lake, scored_runs(settings, context.log.info), truth, settings.transect_patterns)
        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            pictures.leaderboard_table(lake.lake),
            advice=advice(settings, "plot_truth") if truth else "",
        )

    @platform_asset("run_agreement", "submissions", settings, recipes, kinds={"parquet"}, deps=["submission"])
    def run_agreement(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """How alike every two runs answer: the mean Jaccard index of their lists, and how long these are."""
        make = RunAgreement(lake.lake, list(settings.active_runs))
        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            pictures.run_agreement(lake.lake, list(settings.active_runs)),
        )

    return [submission, leaderboard, run_agreement]


def scored_runs(settings: Settings, log: Callable[[str], None]) -> dict[str, Run]:
    """Give the runs of the settings as the scoring knows them, with their lists of species as local files."""
    return {
        name: Run(run.feature_set, run.tiling, run.rule, source_file(settings, run.species_list, log))
        for name, run in settings.active_runs.items()
    }


def _seen_in_tiles(settings: Settings) -> list[AssetDep]:
    """Give what the runs read: tile predictions, or the features and the classifier of those that need all classes."""
    runs = settings.active_runs.values()
    whole = [run for run in runs if run.needs_all_classes]
    edges = [AssetDep("tile_predictions", partition_mapping=every_partition())] if len(whole) < len(runs) else []
    for backbone in dict.fromkeys(split_feature_set(run.feature_set)[0] for run in whole):

        def reads(shard: str, run: RunSettings, backbone: str = backbone) -> bool:
            return run.needs_all_classes and split_feature_set(run.feature_set)[0] == backbone

        mapping = read_by_runs(shard_keys(settings.plot_shards), reads, settings)
        edges.append(AssetDep(f"{backbone}_tile_embeddings", partition_mapping=mapping))
    if whole:
        mapping = read_by_runs(
            settings.feature_sets, lambda name, run: run.needs_all_classes and run.feature_set == name, settings
        )
        edges.append(AssetDep("classifier", partition_mapping=mapping))
    return edges
