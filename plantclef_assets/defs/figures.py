"""Figures: the paper's figures, drawn from this lake.

What belongs here: assets that show others in one picture, and that nothing else is made from. The embedding map, which
computes what it shows, is in `reports.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from dagster import AssetExecutionContext

from plantclef_assets.defs.jobs import CLASSIFIERS, RESULTS, RULE_SWEEP
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.orchestration.declaration import Asset, Input, Job, platform_asset, some
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.pictures import picture
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.report.figures import (
    Drawing,
    DrawnFigure,
    draw_class_imbalance,
    draw_f1_by_species,
    figure_files,
)
from plantclef_assets.report.photograph_figures import PHOTOGRAPHS, TilesOf, draw_crops, draw_tiles
from plantclef_assets.report.pipeline_figures import Node, Pipeline, draw_pipelines
from plantclef_assets.settings import Settings

_PIPELINES = {
    "training": Pipeline("From training photographs to classifiers", ("classifier",)),
    "plots": Pipeline("From plots to species lists and scores", ("species_cover", "leaderboard")),
}


def figure_assets(settings: Settings, graph: Sequence[Asset]) -> list[Asset]:
    """Declare the figures that the settings allow.

    Args:
        settings: the settings.
        graph: all other assets, inputs first, for the figures of the pipeline.
    """
    figures = [_pipeline(settings, graph)]
    if settings.has_training:
        figures += [_class_imbalance(), _crops(settings)]
    if settings.has_plots:
        figures.append(_tiles(settings))
    if settings.sweeps:
        figures.append(_f1_by_species())
    return figures


def _figure(
    name: str,
    description: str,
    job: Job,
    draw: Callable[[Lake], Drawing],
    *,
    inputs: Iterable[str | Input] = (),
    config: Mapping[str, Any] | None = None,
    suffixes: Sequence[str] = ("png",),
    results: Sequence[str] = (),
) -> Asset:
    def describe(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
        files = figure_files(lake, artifact, suffixes)
        kinds = ["jpeg" if suffix.endswith("jpg") else "png" for suffix in suffixes]
        return {
            suffix.rpartition(".")[0] or "figure": picture(path.read_bytes(), name, kind)
            for suffix, path, kind in zip(suffixes, files, kinds, strict=True)
        }

    @platform_asset(
        name=name,
        description=description,
        group="reports",
        jobs=[job],
        kinds={"matplotlib", "parquet"},
        code_version="1",
        inputs=inputs,
        config=config,
        sidecars=lambda lake, artifact: figure_files(lake, artifact, suffixes),
        describe=describe,
        results=results,
    )
    def figure(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        return in_this_process(DrawnFigure(lake.lake, draw))

    return figure


def _pipeline(settings: Settings, graph: Sequence[Asset]) -> Asset:
    names = {asset.name for asset in graph}
    nodes = [Node(asset.name, asset.group, tuple(one.asset for one in asset.inputs)) for asset in graph]
    pipelines = {key: one for key, one in _PIPELINES.items() if names.issuperset(one.ends)}
    return _figure(
        "figure_pipeline",
        "Figures 1 and 2 of the paper: the assets from the training photographs to the classifiers, and from the plots "
        "to the scores, drawn from the graph of these settings.",
        RESULTS if settings.has_plots else CLASSIFIERS,
        partial(draw_pipelines, nodes, pipelines),
        config={"edges": [[node.name, node.group, *node.inputs] for node in nodes]},
        suffixes=[f"{key}.png" for key in pipelines],
        results=["assets"],
    )


def _class_imbalance() -> Asset:
    return _figure(
        "figure_class_imbalance",
        "The number of photographs of each species, by rank, on logarithmic axes.",
        CLASSIFIERS,
        draw_class_imbalance,
        inputs=["class_map"],
        results=["shown_species", "most_photographs", "least_photographs"],
    )


def _crops(settings: Settings) -> Asset:
    shard = shard_keys(settings.training_shards)[0]
    return _figure(
        "figure_crops",
        "Figure 3 of the paper: original photographs with their centre square, next to the resized photographs.",
        CLASSIFIERS,
        partial(draw_crops, shard),
        inputs=[*(some(asset, lambda _: [shard]) for asset in ("raw_images", "resized_images")), "class_map"],
        config={"photographs": PHOTOGRAPHS},
        suffixes=["jpg"],
    )


def _tiles(settings: Settings) -> Asset:
    shown = TilesOf(settings.cover_run.feature_set, settings.cover_run.tiling, shard_keys(settings.plot_shards)[0])
    return _figure(
        "figure_tiles",
        f"Figure 4 of the paper: a whole plot, and its {shown.tiling} tiles with the most probable species of each, by "
        f"{shown.feature_set}.",
        RESULTS,
        partial(draw_tiles, shown),
        inputs=[*(some(asset, lambda _: [shown.shard]) for asset in ("plot_images", "tile_predictions")), "class_map"],
        config={"feature_set": shown.feature_set, "tiling": shown.tiling},
        suffixes=["jpg"],
        results=["shown_tiles", "species_in_tiles"],
    )


def _f1_by_species() -> Asset:
    return _figure(
        "figure_f1_by_species",
        "The F1 of every rule of the sweep against the number of species that it predicts for a plot.",
        RULE_SWEEP,
        draw_f1_by_species,
        inputs=["sweep"],
        results=["best_f1_plot", "best_species_per_plot", "rules"],
    )
