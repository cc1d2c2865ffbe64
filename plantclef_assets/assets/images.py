"""Images: photographs and plots as published, and the resized photographs.

What belongs here: assets whose rows are pictures. (https://docs.dagster.io/guides/build/partitions-and-backfills)
"""

from collections.abc import Mapping

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import advice, platform_asset
from plantclef_assets.assets.pictures import contact_sheet
from plantclef_assets.ingest.photographs import PlotImages, RawImages
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.orchestration.materialization import materialize
from plantclef_assets.orchestration.partitions import Families
from plantclef_assets.orchestration.resources import EngineResource, LakeResource
from plantclef_assets.settings import Settings


def image_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module that the settings give."""
    assets = _photographs(settings, families, recipes) if settings.has_training else []
    return [*assets, _plot_images(settings, families, recipes)] if settings.has_plots else assets


def _photographs(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    images = settings.resolve(settings.training_images or "")

    @platform_asset(
        "raw_images",
        "images",
        settings,
        recipes,
        kinds={"parquet"},
        partitions=families.training,
        deps=["training_manifest"],
    )
    def raw_images(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MaterializeResult:
        """The photographs of a shard, their bytes as published; what is no image goes to quarantine."""
        make = RawImages(lake.lake, images, settings.cache, settings.max_pixels)
        return materialize(
            context,
            Lineage(lake.lake, recipes),
            lambda shards: engine.run(make, shards),
            advice=advice(settings, "training_images"),
        )

    @platform_asset(
        "resized_images",
        "images",
        settings,
        recipes,
        kinds={"pillow", "parquet"},
        partitions=families.training,
        deps=["raw_images"],
    )
    def resized_images(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MaterializeResult:
        """The centre square of each photograph, upright, area-averaged to a small JPEG, as the paper has it."""
        from plantclef_assets.images.resizing import ResizedImages

        make = ResizedImages(lake.lake, settings.image_size, settings.max_pixels)
        return materialize(
            context, Lineage(lake.lake, recipes), lambda shards: engine.run(make, shards), contact_sheet(lake.lake)
        )

    return [raw_images, resized_images]


def _plot_images(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    plots = settings.resolve(settings.plot_images or "")

    @platform_asset(
        "plot_images",
        "images",
        settings,
        recipes,
        kinds={"parquet"},
        partitions=families.plots,
        deps=["plot_manifest"],
    )
    def plot_images(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MaterializeResult:
        """The plots of a shard, their bytes as published, with their upright sizes."""
        make = PlotImages(lake.lake, plots, settings.cache, settings.max_pixels)
        return materialize(
            context,
            Lineage(lake.lake, recipes),
            lambda shards: engine.run(make, shards),
            contact_sheet(lake.lake),
            advice=advice(settings, "plot_images"),
        )

    return plot_images
