"""Pictures in metadata: what the UI shows of an artifact besides numbers.

What belongs here: the way from an artifact to a picture or table in Markdown. What does not: how pictures are drawn.
(https://docs.dagster.io/guides/build/assets/metadata-and-tags)
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from dagster import MetadataValue

from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.orchestration.materialization import Describe
from plantclef_assets.report import figures
from plantclef_assets.report.agreement import draw_agreement
from plantclef_assets.report.artifacts import map_picture
from plantclef_assets.report.cover import Shown, draw_cover
from plantclef_assets.report.curves import Curves, draw_curves
from plantclef_assets.scoring.cover_files import box_of
from plantclef_assets.scoring.sweep_table import best_settings

_SHEET_PICTURES = 16
_PREVIEW_ROWS = 12
_BEST_SETTINGS = 15
_COVER_COLUMNS = ["plot_id", "binomial", "count", "coverage", "max_score"]


def contact_sheet(lake: Lake) -> Describe:
    """Show the first pictures of a shard, evenly taken from its first row group."""

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        if not record.rows:
            return {}
        data = lake.open(artifact).read_row_group(0, columns=["data"]).column("data")
        step = max(1, len(data) // _SHEET_PICTURES)
        pictures = [data[index].as_py() for index in range(0, len(data), step)][:_SHEET_PICTURES]
        return {"contact_sheet": _picture(figures.contact_sheet(pictures), "contact sheet")}

    return describe


def tiled_plot(lake: Lake, plots: str, pairs: Sequence[tuple[str, str]]) -> Describe:
    """Show the first plot of a shard with the best species of each tile, by the run that cuts it finest.

    `plots` is the asset that the plots are in.
    """
    feature_set, tiling = max(pairs, key=lambda pair: (pair[1] != "full", pair[1], pair[0]))

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        filters = [("feature_set", "=", feature_set), ("tiling", "=", tiling), ("rank", "=", 1)]
        best = lake.read(artifact, filters=filters)
        if not best.num_rows:
            return {}
        plot = best.column("plot_id")[0].as_py()
        rows = [row for row in best.to_pylist() if row["plot_id"] == plot]
        picture = lake.read(Artifact(plots, artifact.partition), ["data"], [("plot_id", "=", plot)])
        labels = _tile_labels(lake, rows)
        from plantclef_assets.images.tiling import Tile

        tiles = [Tile(row["tile_index"], row["x"], row["y"], row["width"], row["height"], 1.0) for row in rows]
        drawn = figures.tiled_plot(picture.column("data")[0].as_py(), tiles, labels)
        return {"tiled_plot": _picture(drawn, f"{plot}, {feature_set}, {tiling}")}

    return describe


def covered_plot(lake: Lake, plots: str) -> Describe:
    """Show the first plot of a shard in which species show, its tiles coloured by them, and the first rows.

    `plots` is the asset that the plots are in.
    """

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        table = lake.read(artifact)
        preview = {"preview": MetadataValue.md(markdown_table(table.select(_COVER_COLUMNS).slice(0, _PREVIEW_ROWS)))}
        shown = [row for row in table.drop_columns(["name"]).to_pylist() if row["species_id"] is not None]
        if not shown:
            return preview
        first = shown[0]
        plot, species = first["plot_id"], [_shown(row) for row in shown if row["plot_id"] == first["plot_id"]]
        picture = lake.read(Artifact(plots, artifact.partition), ["data"], [("plot_id", "=", plot)])
        note = f"No colour: {first['uncovered']:.0%}. {first['matched']} of {first['tiles']} tiles show a species."
        drawn = draw_cover(picture.column("data")[0].as_py(), species, note)
        return {"covered_plot": _picture(drawn, plot), **preview}

    return describe


def submission_preview(lake: Lake, dialect: str) -> Describe:
    """Show the first rows of a submission."""

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        rows = lake.open(artifact).read().slice(0, 10).to_pylist()
        lines = [f"| {row['plot_id']} | {', '.join(map(str, row['species_ids'])) or '–'} |" for row in rows]
        return {
            "preview": MetadataValue.md("\n".join(["| plot | species_ids |", "|---|---|", *lines])),
            "dialect": dialect,
        }

    return describe


def leaderboard_table(lake: Lake) -> Describe:
    """Show the whole leaderboard."""

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        return {"leaderboard": MetadataValue.md(markdown_table(lake.read(artifact)))}

    return describe


def run_agreement(lake: Lake, runs: Sequence[str]) -> Describe:
    """Show how alike the runs are as a heat map, in the order of their declaration."""

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        rows = lake.read(artifact, ["run_a", "run_b", "jaccard"]).to_pylist()
        alike = {frozenset((row["run_a"], row["run_b"])): row["jaccard"] for row in rows}
        drawn = draw_agreement(runs, [[alike.get(frozenset((one, other)), 1.0) for other in runs] for one in runs])
        return {"agreement": _picture(drawn, "agreement of runs", "png")}

    return describe


def sweep_table(lake: Lake) -> Describe:
    """Show the best settings of a sweep, and the declared runs."""

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        best = best_settings(lake.read(artifact).to_pylist(), _BEST_SETTINGS)
        return {"best_settings": MetadataValue.md(markdown_table(pa.Table.from_pylist(best)))}

    return describe


def licence_table(artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Show how many photographs and authors there are under each licence."""
    rows = record.statistics["licences"]
    return {"licences": MetadataValue.md(markdown_table(pa.Table.from_pylist(rows)))} if rows else {}


def embedding_map(lake: Lake) -> Describe:
    """Show the picture that lies beside the map."""

    def describe(artifact: Artifact, record: Record) -> Mapping[str, Any]:
        return {"embedding_map": _picture(map_picture(lake, artifact).read_bytes(), "embedding map", "png")}

    return describe


def finetuning_curves(artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Show how fine-tuning went from epoch to epoch; the line is at the epoch that was kept.

    In epoch 0 the classifier alone learned from other views than later, so its loss would say nothing beside theirs.
    """
    rows = record.statistics["curves"]
    learned = {row["epoch"]: row["training_loss"] for row in rows if row["epoch"]}
    losses = {"learned from": learned, "set aside": {row["epoch"]: row["holdout_loss"] for row in rows}}
    accuracy = {"set aside": {row["epoch"]: row["holdout_accuracy"] for row in rows}}
    panels = (Curves("loss", losses), Curves("accuracy", accuracy))
    drawn = draw_curves(panels, best_epoch=record.statistics["best_epoch"])
    return {"learning_curves": _picture(drawn, "learning curves", "png")}


def classifier_curves(artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Show how the training of a classifier went; one that came with a checkpoint has nothing to show."""
    found = record.statistics
    if "epochs" not in found:
        return {}
    if not found["epochs"]:
        return {"learning_curves": f"Nothing was trained: the closed form '{found['start']}' answers."}
    deciding = {"holdout": "set aside", "val": "val"}[found["decided_by"]]
    losses = {"learned from": found["train_losses"], deciding: found["stopping_losses"]}
    lines = {name: dict(enumerate(line, start=1)) for name, line in losses.items()}
    if "start_loss" in found:
        lines[deciding] = {0: found["start_loss"], **lines[deciding]}
    drawn = draw_curves([Curves("loss", lines)], best_epoch=found["best_epoch"])
    return {"learning_curves": _picture(drawn, "learning curves", "png")}


def markdown_table(table: pa.Table) -> str:
    """Write a table as Markdown, numbers with three decimals."""
    lines = [f"| {' | '.join(table.column_names)} |", "|" + "---|" * table.num_columns]
    for row in table.to_pylist():
        cells = (
            f"{value:.3f}" if isinstance(value, float) else "–" if value is None else str(value)
            for value in row.values()
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


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


def _picture(data: bytes, caption: str, kind: str = "jpeg") -> MetadataValue:
    return MetadataValue.md(f"![{caption}](data:image/{kind};base64,{base64.b64encode(data).decode()})")
