"""Embeddings: the features of photographs and of the tiles of plots, for every backbone.

What belongs here: assets that run a backbone over shards, on the accelerator of this machine or in the workers of an
engine, with their checks.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from dagster import AssetExecutionContext

from plantclef_assets.defs.families import Families
from plantclef_assets.defs.jobs import FINETUNING, TRAINING_SIDE
from plantclef_assets.defs.naming import Backbone, PlotSource, backbones, plot_sources
from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.engines.progress import Progress
from plantclef_assets.images.tiling import TileConfig
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models.worker_models import DeviceShare, EmbedInWorker, Share, SparkShare
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.computation import computation
from plantclef_assets.orchestration.declaration import Asset, platform_asset
from plantclef_assets.orchestration.materialization import MakeShards
from plantclef_assets.orchestration.resources import AcceleratorResource, EngineResource, LakeResource
from plantclef_assets.settings import Settings

if TYPE_CHECKING:
    from plantclef_assets.models.embedding import Embedding

_CODE_VERSIONS = {"base": "1", "finetuned": "2"}


def embedding_assets(settings: Settings, families: Families) -> list[Asset]:
    """Declare the embeddings of photographs and tiles for each backbone that the settings ask for."""
    assets = []
    for backbone in backbones(settings):
        if settings.has_training:
            assets.append(_photograph_embeddings(backbone, settings, families))
        assets += [_tile_embeddings(source, backbone, settings) for source in plot_sources(settings)]
    return assets


def _photograph_embeddings(backbone: Backbone, settings: Settings, families: Families) -> Asset:
    @platform_asset(
        name=backbone.embeddings,
        description=f"The features of each resized photograph, from one forward pass of the {backbone.name} backbone.",
        group="embeddings",
        jobs=[FINETUNING if backbone.trained else TRAINING_SIDE],
        kinds={"torch", "timm"},
        partitions=families.training,
        accelerated=settings.engine == "local",
        code_version=_CODE_VERSIONS[backbone.name],
        inputs=["resized_images", backbone.asset],
        config=lambda _: computation(settings),
        checks=[Check("classes_covered", "Every class with photographs has embedded photographs.", _classes_covered)],
    )
    def photograph_embeddings(
        context: AssetExecutionContext, lake: LakeResource, engine: EngineResource, accelerator: AcceleratorResource
    ) -> MakeShards:
        from plantclef_assets.models.embedding import EmbeddedPhotographs

        shard_maker = partial(EmbeddedPhotographs, lake.lake, spec=TABLES[backbone.embeddings])
        if engine.opens_models:
            return _in_workers(lake.lake, engine, backbone, settings, shard_maker)
        rows = _rows(lake.lake)
        return _on_accelerator(context, lake.lake, accelerator, backbone, settings, "resized_images", rows, shard_maker)

    return photograph_embeddings


def _tile_embeddings(source: PlotSource, backbone: Backbone, settings: Settings) -> Asset:
    name = source.tile_embeddings(backbone.name)
    cutting = TileConfig(backbone.tilings, backbone.tile_size, settings.max_pixels, settings.scaled_decoding)

    @platform_asset(
        name=name,
        description=f"The features of each tile ({', '.join(backbone.tilings)}) of each {source.noun}, from the "
        f"{backbone.name} backbone; a plot is decoded once for all its tilings.",
        group="embeddings",
        jobs=[source.job],
        kinds={"torch", "timm"},
        partitions=source.family,
        accelerated=settings.engine == "local",
        code_version=_CODE_VERSIONS[backbone.name],
        inputs=[source.plots, backbone.asset],
        config=lambda _: {**computation(settings), **cutting.provenance()},
        checks=[
            Check(
                "every_tile",
                "Every plot has every tile of every tiling.",
                partial(_every_tile, source.plots),
                blocking=True,
            )
        ],
    )
    def tile_embeddings(
        context: AssetExecutionContext, lake: LakeResource, engine: EngineResource, accelerator: AcceleratorResource
    ) -> MakeShards:
        from plantclef_assets.models.embedding import EmbeddedTiles

        shard_maker = partial(
            EmbeddedTiles,
            lake.lake,
            spec=TABLES[name],
            source=source.plots,
            config=cutting,
        )
        if engine.opens_models:
            return _in_workers(lake.lake, engine, backbone, settings, shard_maker)
        tiles = _tiles(lake.lake, backbone.tilings)
        return _on_accelerator(context, lake.lake, accelerator, backbone, settings, source.plots, tiles, shard_maker)

    return tile_embeddings


def _rows(lake: Lake) -> Callable[[Artifact], int]:
    def count(artifact: Artifact) -> int:
        record = lake.record(artifact)
        return (record.rows or 0) if record else 0

    return count


def _tiles(lake: Lake, tilings: Sequence[str]) -> Callable[[Artifact], int]:
    """Return a function that counts the distinct tiles of a shard of plots over all tilings."""
    from plantclef_assets.images.tiling import distinct_boxes

    def count(artifact: Artifact) -> int:
        if lake.record(artifact) is None:
            return 0
        tiles = 0
        with suppress(DamagedArtifactError):  # the shard that needs it will fail, and the others will not
            for size in lake.read(artifact, ["width", "height"]).to_pylist():
                with suppress(ValueError):  # too small to be cut: the plot will be quarantined
                    tiles += len(distinct_boxes(size["width"], size["height"], tilings))
        return tiles

    return count


def _weights(backbone: Backbone) -> Artifact:
    return Artifact(backbone.asset, suffix="safetensors")


def _in_workers(
    lake: Lake,
    engine: EngineResource,
    backbone: Backbone,
    settings: Settings,
    shard_maker: Callable[["Embedding"], MakeShard],
) -> MakeShards:
    """Return what makes shards in the engine's workers, each of which opens the backbone once."""

    def run(shards: Sequence[Shard]) -> Iterator[Outcome]:
        share = SparkShare(settings.device)
        yield from engine.run(_in_worker(lake, backbone, settings, shard_maker, share), shards)

    return run


def _in_worker(
    lake: Lake,
    backbone: Backbone,
    settings: Settings,
    shard_maker: Callable[["Embedding"], MakeShard],
    share: Callable[[], Share],
) -> MakeShard:
    record = lake.record(_weights(backbone))
    assert record is not None, "shards are made only where their inputs are in the lake"
    return EmbedInWorker(
        lake,
        _weights(backbone),
        record.fingerprint,
        shard_maker,
        share,
        **computation(settings),
        batch_size=settings.batch_size,
    )


def _on_accelerator(
    context: AssetExecutionContext,
    lake: Lake,
    accelerator: AcceleratorResource,
    backbone: Backbone,
    settings: Settings,
    source: str,
    pictures_of: Callable[[Artifact], int],
    shard_maker: Callable[["Embedding"], MakeShard],
) -> MakeShards:
    """Return what makes shards with the backbone loaded onto the accelerator once for all of them.

    Several devices share several shards: one process for each device, which makes a shard after the other.
    """

    def run(shards: Sequence[Shard]) -> Iterator[Outcome]:
        from plantclef_assets.models.backbone_files import open_backbone
        from plantclef_assets.models.devices import resolve_devices
        from plantclef_assets.models.embedding import Embedding
        from plantclef_assets.models.weights import WeightsError

        of_shard = {shard.artifact: pictures_of(Artifact(source, shard.artifact.partition)) for shard in shards}
        pictures = sum(of_shard.values())
        devices = tuple(map(str, resolve_devices(accelerator.device)))[: len(shards)]
        weights = lake.local(lake.path(_weights(backbone)))
        with Progress(source, pictures, "images", context.log.info) as progress:
            if len(devices) > 1:
                share = DeviceShare(devices, accelerator.threads)
                make = _in_worker(lake, backbone, settings, shard_maker, share)
                context.log.info(f"{backbone.model} on {', '.join(devices)}: {pictures:,} images to embed")
                yield from _counted(run_shards(make, shards, workers=len(devices)), of_shard, progress)
                return
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
            yield from run_shards(shard_maker(embedding), shards, workers=1)

    return run


def _counted(outcomes: Iterator[Outcome], pictures: Mapping[Artifact, int], progress: Progress) -> Iterator[Outcome]:
    for outcome in outcomes:
        progress.advance(pictures[outcome.shard.artifact])
        yield outcome


def _classes_covered(context: CheckContext) -> Iterable[Problem]:
    if len(context.records) < len(context.recipe.artifacts):
        return  # only all shards together can cover all classes
    wanted = set(context.statistics("training_manifest").get("species", []))
    found = {species for record in context.records.values() for species in record.statistics.get("species", [])}
    missing = sorted(wanted - found)
    if missing:
        named = ", ".join(map(str, missing[:5]))
        yield Problem(next(iter(context.records)), f"{len(missing)} species have no embedded photograph ({named})")


def _every_tile(source: str, context: CheckContext) -> Iterable[Problem]:
    from plantclef_assets.images.tiling import parse_tiling

    for artifact, record in context.records.items():
        tilings = context.recipe.config(artifact.partition)["tilings"]
        of_every_plot = [parse_tiling(tiling).tiles for tiling in tilings]
        plots = record.statistics.get("rows_out", 0)
        if None in of_every_plot:
            yield from _every_tile_by_size(context, artifact, source, plots, tilings)
            continue
        tiles = sum(count or 0 for count in of_every_plot)
        if record.rows != plots * tiles:
            yield Problem(artifact, f"{artifact}: {record.rows} tiles of {plots} plots, not {tiles} each")


def _every_tile_by_size(
    context: CheckContext, artifact: Artifact, source: str, count: int, tilings: Sequence[str]
) -> Iterable[Problem]:
    """Count the tiles of each plot where their number depends on its size."""
    from plantclef_assets.images.tiling import tile_boxes

    (plots,) = context.inputs(artifact, source)
    sizes = context.lake.read(plots, ["plot_id", "width", "height"])
    found = Counter(context.lake.read(artifact, ["plot_id"]).column("plot_id").to_pylist())
    if len(found) != count:
        yield Problem(artifact, f"{artifact}: tiles of {len(found)} plots, not {count}")
    for row in sizes.to_pylist():
        plot, size = row["plot_id"], (row["width"], row["height"])
        if plot in found:
            tiles = sum(len(tile_boxes(*size, tiling)) for tiling in tilings)
            if found[plot] != tiles:
                yield Problem(artifact, f"{artifact}: {found[plot]} tiles of plot {plot}, not {tiles}")
