"""Sources: what there is before any photograph is read — metadata, classes, manifests, and the demo's survey.

What belongs here: assets that look at files outside the lake and list what is in them.
(https://docs.dagster.io/guides/build/assets)
"""

from collections.abc import Mapping
from functools import partial

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset
from plantclef_assets.ingest.classes import write_class_map
from plantclef_assets.ingest.manifests import write_plot_manifest, write_training_manifest
from plantclef_assets.ingest.metadata import write_training_metadata
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.locations import is_demo
from plantclef_assets.materialization import in_this_process, materialize
from plantclef_assets.resources import LakeResource
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
    metadata_file = settings.resolve(settings.training_metadata or "")
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
        make = partial(write_training_metadata, lake.lake, file=metadata_file)
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make))

    @platform_asset("class_map", "sources", settings, recipes, kinds={"duckdb", "parquet"}, deps=["training_metadata"])
    def class_map(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The species, each with its contiguous class index; every head, mask and prior goes through it."""
        make = partial(
            write_class_map,
            lake.lake,
            class_mapping=settings.resolve(settings.class_mapping) if settings.class_mapping else None,
            species_names=settings.resolve(settings.species_names) if settings.species_names else None,
        )
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make))

    @platform_asset(
        "training_manifest",
        "sources",
        settings,
        recipes,
        kinds={"duckdb", "parquet"},
        deps=["training_metadata", "class_map", *_demo_survey_of(settings, settings.training_images)],
    )
    def training_manifest(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The photographs that have both a file and a metadata row, ordered by path, cut into shards of equal bytes."""
        make = partial(write_training_manifest, lake.lake, folder=images, shards=settings.training_shards)
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make))

    return [training_metadata, class_map, training_manifest]


def _class_map_of_checkpoint(settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    @platform_asset("class_map", "sources", settings, recipes, kinds={"duckdb", "parquet"}, deps=["finetuned_backbone"])
    def class_map(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The species that the checkpoint knows, in the order of its class list."""
        from plantclef_assets.vision.artifacts import write_class_map_of_backbone

        make = partial(write_class_map_of_backbone, lake.lake, backbone="finetuned")
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make))

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
        make = partial(write_plot_manifest, lake.lake, folder=plots, shards=settings.plot_shards)
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make))

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
