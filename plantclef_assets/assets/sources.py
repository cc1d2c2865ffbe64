"""Sources: what there is before any photograph is read — metadata, classes, manifests, and the demo's survey.

What belongs here: assets that look at files outside the lake and list what is in them.
(https://docs.dagster.io/guides/build/assets)
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import advice, download_limits, platform_asset, source_file
from plantclef_assets.assets.pictures import licence_table
from plantclef_assets.ingest.class_map import write_class_map
from plantclef_assets.ingest.locations import is_demo
from plantclef_assets.ingest.manifests import write_plot_manifest, write_training_manifest
from plantclef_assets.ingest.metadata import write_training_metadata
from plantclef_assets.ingest.sources import open_source
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.shards import Shard
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.settings import Settings


def source_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module that the settings give."""
    assets = (
        _training_sources(settings, recipes) if settings.has_training else [_class_map_of_checkpoint(settings, recipes)]
    )
    if settings.has_plots:
        assets.append(_plot_manifest(settings, recipes))
    if settings.uses_demo_survey:
        assets.append(_demo_survey(settings, recipes))
    return assets


def _training_sources(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    images = settings.resolve(settings.training_images or "")

    @platform_asset(
        "training_metadata",
        "sources",
        settings,
        recipes,
        kinds={"csv", "parquet"},
        deps=_demo_survey_of(settings, settings.training_metadata),
    )
    def training_metadata(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """One row for each training photograph, as the organisers' CSV has it, with types."""

        def make(shard: Shard) -> None:
            file = source_file(settings, settings.training_metadata, context.log.info)
            write_training_metadata(lake.lake, shard, file or Path(), context.log.warning)

        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            advice=advice(settings, "training_metadata"),
        )

    @platform_asset("class_map", "sources", settings, recipes, kinds={"duckdb", "parquet"}, deps=["training_metadata"])
    def class_map(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The species, each with its contiguous class index; every head, mask and prior goes through it."""

        def make(shard: Shard) -> None:
            class_mapping = source_file(settings, settings.class_mapping, context.log.info)
            species_names = source_file(settings, settings.species_names, context.log.info)
            write_class_map(lake.lake, shard, class_mapping=class_mapping, species_names=species_names)

        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            advice=advice(settings, "class_mapping", "species_names", "training_metadata"),
        )

    @platform_asset(
        "training_manifest",
        "sources",
        settings,
        recipes,
        kinds={"duckdb", "parquet"},
        deps=["training_metadata", "class_map", *_demo_survey_of(settings, settings.training_images)],
    )
    def training_manifest(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The photographs that have both a file and a metadata row, in their order, cut into shards of equal bytes."""

        def make(shard: Shard) -> None:
            source = open_source(images, Path(settings.cache), context.log.info, download_limits(settings))
            write_training_manifest(
                lake.lake, shard, source=source, shards=settings.training_shards, licenses=settings.licenses
            )

        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            licence_table,
            advice=advice(settings, "training_images", "training_metadata"),
        )

    return [training_metadata, class_map, training_manifest]


def _class_map_of_checkpoint(settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    @platform_asset("class_map", "sources", settings, recipes, kinds={"duckdb", "parquet"}, deps=["finetuned_backbone"])
    def class_map(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The species that the checkpoint knows, in the order of its class list."""
        from plantclef_assets.models.backbone_artifacts import write_class_map_of_backbone

        make = partial(write_class_map_of_backbone, lake.lake, backbone="finetuned")
        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            advice=advice(settings, "finetuned_weights"),
        )

    return class_map


def _plot_manifest(settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    plots = settings.resolve(settings.plot_images or "")

    @platform_asset(
        "plot_manifest",
        "sources",
        settings,
        recipes,
        kinds={"duckdb", "parquet"},
        deps=_demo_survey_of(settings, settings.plot_images),
    )
    def plot_manifest(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The plot photographs of the survey, cut into shards of equal bytes."""

        def make(shard: Shard) -> None:
            source = open_source(plots, Path(settings.cache), context.log.info, download_limits(settings))
            write_plot_manifest(lake.lake, shard, source=source, shards=settings.plot_shards)

        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            advice=advice(settings, "plot_images"),
        )

    return plot_manifest


def _demo_survey(settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    @platform_asset("demo_survey", "sources", settings, recipes, kinds={"pillow", "csv"})
    def demo_survey(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """A procedural flora, photographed plant by plant, and vegetation plots composed of it, with their truth."""
        from plantclef_assets.demo.artifacts import write_demo_survey

        make = partial(write_demo_survey, lake.lake, log=context.log.info)
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make))

    return demo_survey


def _demo_survey_of(settings: Settings, source: str | None) -> list[str]:
    """Give the asset that a source lies in, where it is the demo's."""
    return ["demo_survey"] if is_demo(source) else []
