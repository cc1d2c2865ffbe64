"""Cover: which species show in each plot, where, and how much of it they cover; the answer for ecologists.

What belongs here: assets that tell plots in terms of tiles and area. What does not: lists for the challenge
(`submissions.py`).
"""

from collections.abc import Mapping

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset
from plantclef_assets.assets.pictures import covered_plot
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import Families
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.recipes import answered_sources, cover_of, predictions_of
from plantclef_assets.scoring.cover_files import SpeciesCover
from plantclef_assets.settings import Settings


def cover_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module, one for each source of plots that are told in species."""
    return [_cover(source, settings, families, recipes) for source in answered_sources(settings)]


def _cover(source: str, settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    run = settings.cover_run

    @platform_asset(
        cover_of(source),
        "cover",
        settings,
        recipes,
        kinds={"csv", "json", "parquet"},
        partitions=families.of_plots(source),
        deps=[predictions_of(source), source, "class_map"],
        description="The species of each plot of a shard with the tiles that show them and the share of the plot that "
        f"these cover, by {run.feature_set} on {run.tiling}; as a table, as a CSV for spreadsheets, and as JSON.",
    )
    def species_cover(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        make = SpeciesCover(
            lake.lake,
            run.feature_set,
            run.tiling,
            settings.cover.min_score,
            settings.cover.max_rank,
            plots=source,
            predictions=predictions_of(source),
        )
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make), covered_plot(lake.lake, source))

    return species_cover
