"""Validation: labelled plots for any data set, to choose settings by without a leaderboard.

What belongs here: assets that make a truth out of what is at hand. Their tiles are embedded as those of the survey are
(`embeddings.py`).
"""

from collections.abc import Mapping

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset
from plantclef_assets.assets.pictures import contact_sheet
from plantclef_assets.ingest.validation_plots import ValidationPlots
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.orchestration.materialization import materialize
from plantclef_assets.orchestration.partitions import Families, every_partition
from plantclef_assets.orchestration.resources import EngineResource, LakeResource
from plantclef_assets.settings import Settings


def validation_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module; there are none without photographs to compose of, or without runs to judge."""
    if not settings.composes_plots:
        return []

    @platform_asset(
        "validation_plots",
        "validation",
        settings,
        recipes,
        kinds={"pillow", "parquet"},
        partitions=families.validation_plots,
        deps=[
            AssetDep("raw_images", partition_mapping=every_partition()),
            AssetDep("resized_images", partition_mapping=every_partition()),
            "class_map",
        ],
    )
    def validation_plots(
        context: AssetExecutionContext, lake: LakeResource, engine: EngineResource
    ) -> MaterializeResult:
        """Plots composed of photographs that no head or backbone has learned from, with the species that are seen.

        Some places are visited twice.
        """
        make = ValidationPlots(
            lake.lake,
            shard_keys(settings.training_shards),
            settings.validation.shard_keys,
            settings.validation.plots,
            settings.validation.side,
            settings.validation.species,
            settings.classifier.validation_share,
            settings.seed,
            settings.max_pixels,
        )
        return materialize(
            context, Lineage(lake.lake, recipes), lambda shards: engine.run(make, shards), contact_sheet(lake.lake)
        )

    return [validation_plots]
