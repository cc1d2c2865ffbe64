"""Images: photographs and plots as published, and the resized photographs.

What belongs here: assets whose rows are images, with their checks.
"""

from collections.abc import Iterable

from dagster import AssetExecutionContext

from plantclef_assets.defs.families import Families
from plantclef_assets.defs.jobs import PLOT_SIDE, TRAINING_SIDE
from plantclef_assets.images.resizing import ResizedImages, ResizingConfig
from plantclef_assets.ingest.photographs import PlotImages, RawImages, ReadingConfig
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.declaration import Asset, platform_asset
from plantclef_assets.orchestration.materialization import MakeShards, in_parallel
from plantclef_assets.orchestration.pictures import contact_sheet
from plantclef_assets.orchestration.resources import EngineResource, LakeResource
from plantclef_assets.settings import Settings

_MOST_QUARANTINED = 0.01
"""A larger share is no accident of single files: the source deserves a look."""


def image_assets(settings: Settings, families: Families) -> list[Asset]:
    """Declare the images that the settings ask for."""
    assets = _photographs(settings, families) if settings.has_training else []
    return [*assets, _plot_images(settings, families)] if settings.has_plots else assets


def _photographs(settings: Settings, families: Families) -> list[Asset]:
    images = settings.resolve(settings.training_images or "")
    reading = ReadingConfig(settings.max_pixels)
    resizing = ResizingConfig(settings.image_size, settings.max_pixels, scaled_decoding=settings.scaled_decoding)

    @platform_asset(
        group="images",
        jobs=[TRAINING_SIDE],
        kinds={"parquet"},
        partitions=families.training,
        code_version="2",
        inputs=["training_manifest"],
        config=reading,
        advice=["training_images"],
        checks=[little_quarantined()],
    )
    def raw_images(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MakeShards:
        """The original files of the photographs; files that are no images are quarantined."""
        return in_parallel(engine, RawImages(lake.lake, images, settings.cache, reading))

    @platform_asset(
        group="images",
        jobs=[TRAINING_SIDE],
        kinds={"pillow", "parquet"},
        partitions=families.training,
        code_version="2",
        inputs=["raw_images"],
        config=resizing.provenance(),
        describe=contact_sheet,
        checks=[little_quarantined()],
    )
    def resized_images(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MakeShards:
        """The centre square of each photograph, upright, area-averaged to a small JPEG, as in the paper."""
        return in_parallel(engine, ResizedImages(lake.lake, resizing))

    return [raw_images, resized_images]


def _plot_images(settings: Settings, families: Families) -> Asset:
    plots, reading = settings.resolve(settings.plot_images or ""), ReadingConfig(settings.max_pixels)

    @platform_asset(
        group="images",
        jobs=[PLOT_SIDE],
        kinds={"parquet"},
        partitions=families.plots,
        code_version="1",
        inputs=["plot_manifest"],
        config=reading,
        advice=["plot_images"],
        describe=contact_sheet,
        checks=[little_quarantined()],
    )
    def plot_images(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MakeShards:
        """The original files of the plots, with their upright sizes."""
        return in_parallel(engine, PlotImages(lake.lake, plots, settings.cache, reading))

    return plot_images


def little_quarantined() -> Check:
    """Return a check that warns of a source in which more is broken than single files."""
    return Check("little_quarantined", "At most 1 % of the images are quarantined.", _little_quarantined)


def _little_quarantined(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        rows, quarantined = record.statistics.get("rows_in", 0), record.statistics.get("quarantined", 0)
        if quarantined > max(1, _MOST_QUARANTINED * rows):
            yield Problem(artifact, f"{artifact}: {quarantined} of {rows} images are quarantined")
