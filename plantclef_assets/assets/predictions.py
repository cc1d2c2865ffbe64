"""Predictions: what the classifiers say of each tile.

What belongs here: assets that apply heads to stored features; no picture is decoded and no backbone runs.
"""

from collections.abc import Mapping

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset
from plantclef_assets.assets.pictures import tiled_plot
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import Families, used_feature_sets
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.recipes import answered_sources, predictions_of, tile_embeddings_of
from plantclef_assets.settings import Settings


def prediction_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module, one for each source of plots that are told in species."""
    return [_predictions(source, settings, families, recipes) for source in answered_sources(settings)]


def _predictions(
    source: str, settings: Settings, families: Families, recipes: Mapping[str, Recipe]
) -> AssetsDefinition:
    pairs = sorted({(run.feature_set, run.tiling) for run in settings.active_runs.values()})
    tiles = {backbone: tile_embeddings_of(source, backbone) for backbone in settings.backbones}

    @platform_asset(
        predictions_of(source),
        "predictions",
        settings,
        recipes,
        kinds={"torch", "parquet"},
        partitions=families.of_plots(source),
        deps=[
            *tiles.values(),
            AssetDep("classifier", partition_mapping=used_feature_sets(answered_sources(settings)[source], settings)),
            "class_map",
        ],
    )
    def tile_predictions(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The likeliest species of each tile, by each classifier and tiling that some run uses."""
        from plantclef_assets.models.tile_predictions import PredictedTiles

        make = PredictedTiles(lake.lake, pairs, settings.top_k, tiles)
        shown = tiled_plot(lake.lake, source, pairs)
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make), shown)

    return tile_predictions
