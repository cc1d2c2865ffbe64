"""Embeddings: the features of photographs and of the tiles of plots, one factory for every backbone.

What belongs here: assets that run a backbone over shards, on the accelerator of this machine or in an engine's workers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset
from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.engines.progress import Progress
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake
from plantclef_assets.models.spark_models import EmbedOnSpark
from plantclef_assets.orchestration.computation import computation
from plantclef_assets.orchestration.materialization import MakeShards, materialize
from plantclef_assets.orchestration.partitions import Families
from plantclef_assets.orchestration.resources import AcceleratorResource, EngineResource, LakeResource
from plantclef_assets.recipes import tile_embeddings_of, tile_size, tiled_sources, tilings_of
from plantclef_assets.settings import Settings

if TYPE_CHECKING:
    from plantclef_assets.models.embedding import Embedding


def embedding_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module for each backbone that the settings give."""
    assets = []
    for backbone in settings.backbones:
        if settings.has_training:
            assets.append(_photograph_embeddings(backbone, settings, families, recipes))
        for source in tiled_sources(settings):
            assets.append(_tile_embeddings(source, backbone, settings, families, recipes))
    return assets


def _photograph_embeddings(
    backbone: str, settings: Settings, families: Families, recipes: Mapping[str, Recipe]
) -> AssetsDefinition:
    name = f"{backbone}_embeddings"

    @platform_asset(
        name,
        "embeddings",
        settings,
        recipes,
        kinds={"torch", "timm"},
        partitions=families.training,
        accelerated=settings.engine == "local",
        deps=["resized_images", f"{backbone}_backbone"],
        description=f"The features of each resized photograph, from one forward pass of the {backbone} backbone.",
    )
    def photograph_embeddings(
        context: AssetExecutionContext, lake: LakeResource, engine: EngineResource, accelerator: AcceleratorResource
    ) -> MaterializeResult:
        from plantclef_assets.models.embedding import EmbeddedPhotographs

        lineage = Lineage(lake.lake, recipes)
        features = partial(EmbeddedPhotographs, lake.lake, spec=TABLES[name])
        if engine.opens_models:
            return materialize(context, lineage, _in_workers(lake.lake, engine, backbone, settings, features))
        here = _on_accelerator(context, lake.lake, accelerator, backbone, "resized_images", _rows(lake.lake), features)
        return materialize(context, lineage, here, hold=accelerator.hold)

    return photograph_embeddings


def _tile_embeddings(
    source: str, backbone: str, settings: Settings, families: Families, recipes: Mapping[str, Recipe]
) -> AssetsDefinition:
    name, tilings = tile_embeddings_of(source, backbone), tilings_of(backbone, settings)
    plots = {"validation_plots": "validation plot", "inbox_plots": "plot from the inbox"}.get(source, "plot")

    @platform_asset(
        name,
        "embeddings",
        settings,
        recipes,
        kinds={"torch", "timm"},
        partitions=families.of_plots(source),
        accelerated=settings.engine == "local",
        deps=[source, f"{backbone}_backbone"],
        description=f"The features of each tile ({', '.join(tilings)}) of each {plots}, from the {backbone} backbone; "
        "a plot is decoded once for all its tilings.",
    )
    def tile_embeddings(
        context: AssetExecutionContext, lake: LakeResource, engine: EngineResource, accelerator: AcceleratorResource
    ) -> MaterializeResult:
        from plantclef_assets.models.embedding import EmbeddedTiles

        lineage = Lineage(lake.lake, recipes)
        features = partial(
            EmbeddedTiles,
            lake.lake,
            spec=TABLES[name],
            source=source,
            tilings=tilings,
            tile_size=tile_size(backbone, settings),
            max_pixels=settings.max_pixels,
        )
        if engine.opens_models:
            return materialize(context, lineage, _in_workers(lake.lake, engine, backbone, settings, features))
        tiles = _tiles(lake.lake, tilings)
        here = _on_accelerator(context, lake.lake, accelerator, backbone, source, tiles, features)
        return materialize(context, lineage, here, hold=accelerator.hold)

    return tile_embeddings


def _rows(lake: Lake) -> Callable[[Artifact], int]:
    def count(artifact: Artifact) -> int:
        record = lake.record(artifact)
        return (record.rows or 0) if record else 0

    return count


def _tiles(lake: Lake, tilings: Sequence[str]) -> Callable[[Artifact], int]:
    """Count the pictures that are embedded of a shard of plots: each tile once, in however many tilings it is."""
    from plantclef_assets.images.tiling import distinct_boxes

    def count(artifact: Artifact) -> int:
        if lake.record(artifact) is None:
            return 0
        tiles = 0
        with suppress(DamagedArtifactError):  # the shard that needs it will fail, and the others will not
            for size in lake.read(artifact, ["width", "height"]).to_pylist():
                with suppress(ValueError):  # too small to be cut: the plot will be set aside
                    tiles += len(distinct_boxes(size["width"], size["height"], tilings))
        return tiles

    return count


def _weights(backbone: str) -> Artifact:
    return Artifact(f"{backbone}_backbone", suffix="safetensors")


def _in_workers(
    lake: Lake,
    engine: EngineResource,
    backbone: str,
    settings: Settings,
    features: Callable[["Embedding"], MakeShard],
) -> MakeShards:
    """Let the engine's workers open the backbone, each once; the accelerator of this machine is not held."""

    def run(shards: Sequence[Shard]) -> Iterator[Outcome]:
        record = lake.record(_weights(backbone))
        assert record is not None, "shards are made only where their inputs are in the lake"
        make = EmbedOnSpark(
            lake,
            _weights(backbone),
            record.fingerprint,
            features,
            settings.device,
            **computation(settings),
            batch_size=settings.batch_size,
        )
        yield from engine.run(make, shards)

    return run


def _on_accelerator(
    context: AssetExecutionContext,
    lake: Lake,
    accelerator: AcceleratorResource,
    backbone: str,
    source: str,
    pictures_of: Callable[[Artifact], int],
    features: Callable[["Embedding"], MakeShard],
) -> MakeShards:
    """Load the backbone onto the accelerator once for all shards; the accelerator is held by `materialize`."""

    def run(shards: Sequence[Shard]) -> Iterator[Outcome]:
        from plantclef_assets.models.backbone_files import open_backbone
        from plantclef_assets.models.embedding import Embedding
        from plantclef_assets.models.weights import WeightsError

        pictures = sum(pictures_of(Artifact(source, shard.artifact.partition)) for shard in shards)
        weights = lake.local(lake.path(_weights(backbone)))
        with Progress(source, pictures, "images", context.log.info) as progress:
            try:
                model = open_backbone(weights, accelerator.device, accelerator.precision, accelerator.compile)
            except WeightsError as error:
                yield from (Outcome(shard, 0.0, error) for shard in shards)
                return
            embedding = Embedding(
                model, accelerator.batch_size, accelerator.threads, progress.advance, context.log.warning
            )
            how = f"{model.precision}, {'compiled' if model.compiled else 'not compiled'}"
            context.log.info(f"{model.info.model} on {model.device} in {how}: {pictures:,} images to embed")
            yield from run_shards(features(embedding), shards, workers=1)

    return run
