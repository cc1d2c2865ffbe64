"""Predictions: the species of each tile, and what they amount to on a plot: the answer for ecologists.

What belongs here: assets that apply classifiers to stored features, and that describe plots by tiles and area. No
image is decoded and no backbone runs. What does not: species lists for the challenge (`submissions.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from dagster import AssetExecutionContext

from plantclef_assets.defs.naming import PlotSource, backbones, plot_sources, runs_by_feature_set_and_tiling
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.models.feature_sets import PredictionConfig
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem, count_is_zero
from plantclef_assets.orchestration.declaration import Asset, platform_asset, some
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.metadata import Describe
from plantclef_assets.orchestration.pictures import metadata_table, picture
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.report import photographs
from plantclef_assets.report.photographs import Shown, draw_cover
from plantclef_assets.scoring.cover import union_area
from plantclef_assets.scoring.cover_files import CoverConfig, SpeciesCover, box_of, cover_files
from plantclef_assets.settings import Settings

_NAMED = 5
_TOLERANCE = 1e-9
_PREVIEW_ROWS = 12
_COVER_COLUMNS = ["plot_id", "binomial", "count", "coverage", "max_score"]


def prediction_assets(settings: Settings) -> list[Asset]:
    """Declare predictions and cover for each source of plots that has them."""
    assets = []
    for source in plot_sources(settings):
        if source.predictions and source.cover:
            assets.append(_tile_predictions(source, source.predictions, settings))
            if source.novelty:
                assets.append(_tile_novelty(source, source.novelty, settings))
            assets.append(_species_cover(source, source.predictions, source.cover, settings))
    return assets


def _tile_predictions(source: PlotSource, name: str, settings: Settings) -> Asset:
    pairs = runs_by_feature_set_and_tiling(settings)
    config = PredictionConfig(settings.top_k, tuple(pairs))
    classifiers = sorted({feature_set for feature_set, _ in pairs})
    tiles = _tiles(source, settings)

    @platform_asset(
        name=name,
        group="predictions",
        jobs=[source.job],
        kinds={"torch", "parquet"},
        partitions=source.family,
        code_version="1",
        inputs=[*tiles.values(), some("classifier", lambda _: classifiers), "class_map"],
        config=config,
        describe=_tiled_plot(source.plots, pairs),
        results=["mean_first_probability"],
        checks=_prediction_checks(),
    )
    def tile_predictions(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The most probable species of each tile, by each classifier and tiling that a run uses."""
        from plantclef_assets.models.tile_predictions import PredictedTiles

        return in_this_process(PredictedTiles(lake.lake, config, tiles))

    return tile_predictions


def _tile_novelty(source: PlotSource, name: str, settings: Settings) -> Asset:
    pairs, tiles = runs_by_feature_set_and_tiling(settings), _tiles(source, settings)
    classifiers = sorted({feature_set for feature_set, _ in pairs})

    @platform_asset(
        name=name,
        group="predictions",
        jobs=[source.job],
        kinds={"torch", "parquet"},
        partitions=source.family,
        code_version="1",
        inputs=[*tiles.values(), *(some(one, lambda _: classifiers) for one in ("classifier", "val_novelty"))],
        config={"feature_sets_and_tilings": pairs},
        checks=[
            Check(
                "unknown_valid",
                "Unknown scores lie in [0, 1].",
                _unknown_valid,
                blocking=True,
            )
        ],
    )
    def tile_novelty(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The unknown score of each tile: the share of the validation photographs with a lower score.

        A tile with a high score may show a species without training photographs.
        """
        from plantclef_assets.models.novelty_tables import TileNovelty

        return in_this_process(TileNovelty(lake.lake, pairs, tiles))

    return tile_novelty


def _tiles(source: PlotSource, settings: Settings) -> dict[str, str]:
    """Return the asset of the tile embeddings of each backbone."""
    return {backbone.name: source.tile_embeddings(backbone.name) for backbone in backbones(settings)}


def _species_cover(source: PlotSource, predictions: str, name: str, settings: Settings) -> Asset:
    run = settings.cover_run
    config = CoverConfig(run.feature_set, run.tiling, settings.cover.min_score, settings.cover.max_rank)

    @platform_asset(
        name=name,
        description="The species of each plot, with the tiles that show them and the share of the plot that these "
        f"cover, by {run.feature_set} on {run.tiling}; as a table, as a CSV for spreadsheets, and as JSON.",
        group="predictions",
        jobs=[source.job],
        kinds={"csv", "json", "parquet"},
        partitions=source.family,
        code_version="1",
        inputs=[predictions, source.plots, "class_map"],
        config=config,
        sidecars=cover_files,
        for_people=True,
        describe=_covered_plot(source.plots, settings.cover_run_name),
        results=["species_per_plot", "mean_uncovered", "plots_without_species"],
        checks=_cover_checks(source.plots),
    )
    def species_cover(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        return in_this_process(SpeciesCover(lake.lake, config, plots=source.plots, predictions=predictions))

    return species_cover


def _tiled_plot(plots: str, pairs: Sequence[tuple[str, str]]) -> Describe:
    """Return metadata with the first plot of a shard and the best species of each tile, by the finest tiling of a run.

    `plots` is the asset with the plots.
    """

    def describe(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
        feature_set, tiling = max(pairs, key=lambda pair: (pair[1] != "full", pair[1], pair[0]))
        filters = [("feature_set", "=", feature_set), ("tiling", "=", tiling), ("rank", "=", 1)]
        best = lake.read(artifact, filters=filters)
        if not best.num_rows:
            return {}
        plot = best.column("plot_id")[0].as_py()
        rows = [row for row in best.to_pylist() if row["plot_id"] == plot]
        image = lake.read(Artifact(plots, artifact.partition), ["data"], [("plot_id", "=", plot)])
        labels = _tile_labels(lake, rows)
        from plantclef_assets.images.tiling import Tile

        tiles = [Tile(row["tile_index"], row["x"], row["y"], row["width"], row["height"], 1.0) for row in rows]
        drawn = photographs.tiled_plot(image.column("data")[0].as_py(), tiles, labels)
        return {
            "tiled_plot": picture(drawn, f"{plot}, {feature_set}, {tiling}"),
            "species_of_tiles": metadata_table(_species_of_tiles(labels)),
        }

    return describe


def _covered_plot(plots: str, run: str) -> Describe:
    """Return metadata with the first plot of a shard that shows species, its tiles coloured by species, and a preview.

    `plots` is the asset with the plots, `run` the run whose feature set and tiling the cover uses.
    """

    def describe(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
        table = lake.read(artifact)
        preview = {"run": run, "preview": metadata_table(table.select(_COVER_COLUMNS).slice(0, _PREVIEW_ROWS))}
        shown = [row for row in table.drop_columns(["name"]).to_pylist() if row["species_id"] is not None]
        if not shown:
            return preview
        first = shown[0]
        plot, species = first["plot_id"], [_shown(row) for row in shown if row["plot_id"] == first["plot_id"]]
        image = lake.read(Artifact(plots, artifact.partition), ["data"], [("plot_id", "=", plot)])
        note = f"No colour: {first['uncovered']:.0%}. {first['matched']} of {first['tiles']} tiles show a species."
        drawn = draw_cover(image.column("data")[0].as_py(), species, note)
        return {"covered_plot": picture(drawn, plot), **preview}

    return describe


def _shown(row: Mapping[str, Any]) -> Shown:
    tiles = "1 tile" if row["count"] == 1 else f"{row['count']} tiles"
    label = f"{row['binomial'] or row['species_id']}: {row['coverage']:.0%}, {tiles}, up to {row['max_score']:.2f}"
    return Shown(label, [box_of(place) for place in row["positions"]], [place["score"] for place in row["positions"]])


def _tile_labels(lake: Lake, rows: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    classes = lake.read(Artifact("class_map"), ["species_id", "species"]).to_pylist()
    names = {row["species_id"]: row["species"] for row in classes}
    return {
        row["tile_index"]: [str(names.get(row["species_id"]) or row["species_id"]), f"{row['probability']:.2f}"]
        for row in rows
    }


def _species_of_tiles(labels: Mapping[int, Sequence[str]]) -> pa.Table:
    """Return how many tiles show each species at the first rank, the commonest first."""
    counts = Counter(name for name, _ in labels.values()).most_common(_PREVIEW_ROWS)
    return pa.table({"species": [name for name, _ in counts], "tiles": [count for _, count in counts]})


def _prediction_checks() -> list[Check]:
    return [
        Check(
            "probabilities_valid",
            "Probabilities lie in [0, 1].",
            count_is_zero("probabilities_outside", "{artifact}: {count} probabilities are outside [0, 1]"),
            blocking=True,
        ),
        Check(
            "probabilities_sorted",
            "Probabilities do not rise with the rank.",
            count_is_zero(
                "probabilities_rising", "{artifact}: {count} species are likelier than the one ranked before them"
            ),
            blocking=True,
        ),
        Check(
            "confident_somewhere",
            "The mean probability of the most probable species of a tile is above chance.",
            _confident_somewhere,
        ),
    ]


def _confident_somewhere(context: CheckContext) -> Iterable[Problem]:
    classes = len(context.statistics("class_map").get("species", []))
    for artifact, record in context.records.items():
        mean = record.statistics.get("mean_first_probability")
        if mean is not None and classes and mean <= 1.5 / classes:
            yield Problem(
                artifact, f"{artifact}: the mean probability of the first species is {mean:.4f}, as by chance"
            )


def _unknown_valid(context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        unknown = context.lake.read(artifact, ["unknown"]).column("unknown").to_numpy()
        outside = int((~((unknown >= 0) & (unknown <= 1))).sum())
        if outside:
            yield Problem(artifact, f"{artifact}: {outside} unknown scores are outside [0, 1]")


def _cover_checks(plots: str) -> list[Check]:
    return [
        Check(
            "every_plot",
            "The table has every plot of the shard, and no other.",
            partial(_every_plot, plots),
            blocking=True,
        ),
        Check(
            "cover_valid",
            "Coverage and uncovered lie in [0, 1] and agree with the listed tiles.",
            partial(_cover_valid, plots),
            blocking=True,
        ),
    ]


def _every_plot(plots: str, context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        images = context.inputs(artifact, plots)[0]
        wanted, found = (
            set(context.lake.read(one, ["plot_id"]).column("plot_id").to_pylist()) for one in (images, artifact)
        )
        for these, problem in ((wanted - found, "are missing"), (found - wanted, "are not of this shard")):
            if these:
                named = ", ".join(sorted(these)[:_NAMED])
                yield Problem(artifact, f"{artifact}: {len(these)} plots {problem} ({named})")


def _cover_valid(plots: str, context: CheckContext) -> Iterable[Problem]:
    """Compute the areas again from the tiles: per species, and over all species of a plot."""
    for artifact in context.records:
        images = context.lake.read(context.inputs(artifact, plots)[0], ["plot_id", "width", "height"])
        area = {row["plot_id"]: row["width"] * row["height"] for row in images.to_pylist()}
        table = context.lake.read(artifact, ["plot_id", "species_id", "coverage", "uncovered", "positions"])
        boxes_of = defaultdict(list)
        uncovered = defaultdict(set)
        for row in table.to_pylist():
            plot, boxes = row["plot_id"], [box_of(position) for position in row["positions"]]
            boxes_of[plot] += boxes
            uncovered[plot].add(row["uncovered"])
            share = union_area(np.array(boxes)) / area[plot]
            if not abs(row["coverage"] - share) <= _TOLERANCE:
                named = f"coverage of species {row['species_id']} in plot {plot}"
                yield Problem(artifact, f"{artifact}: {named} is {row['coverage']:.6g}, its tiles cover {share:.6g}")
        for plot, boxes in boxes_of.items():
            share = 1 - union_area(np.array(boxes)) / area[plot]
            if any(not abs(value - share) <= _TOLERANCE for value in uncovered[plot]):
                said = ", ".join(f"{value:.6g}" for value in sorted(uncovered[plot]))
                yield Problem(
                    artifact, f"{artifact}: uncovered of plot {plot} is {said}, its tiles leave {share:.6g} uncovered"
                )
