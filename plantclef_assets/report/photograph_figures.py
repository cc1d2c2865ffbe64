"""Figures with photographs: originals against their crops, and a whole plot against its tiles."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.tiling import Tile
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.charts import COLOURS, GREY, draw_picture, rgb
from plantclef_assets.report.figures import Drawing
from plantclef_assets.report.photographs import tiled_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHOTOGRAPHS = 6
"""Photographs in the figure of crops."""
_SIDE = 176
"""Width of a photograph, px. Dagster's dialog shows pictures of up to 1,100 px without scrolling."""
_PLOT_SIDE = 510
_DECODED_SIDE = 640
"""Longer side of an original in the figure, px: a photograph may have a hundred megapixels."""


def draw_crops(shard: str, lake: Lake) -> Drawing:
    """Draw photographs of a shard as published, with the square that is kept, above what is embedded.

    Raises:
        ValueError: the shard has no photograph.
    """
    resized = Artifact("resized_images", shard)
    listed = lake.read(resized, ["image_name", "species_id"]).to_pylist()
    if not listed:
        raise ValueError(f"{resized} has no photograph to show")
    chosen = [listed[number] for number in np.unique(np.linspace(0, len(listed) - 1, PHOTOGRAPHS).astype(int))]
    names = [row["image_name"] for row in chosen]
    original, crop = (_data(lake, artifact, names) for artifact in (Artifact("raw_images", shard), resized))
    species = _species(lake)
    rows = [
        {"panel": panel, "item": row["image_name"], "label": species.get(row["species_id"]), "x": None, "y": None}
        for panel in ("original", "crop")
        for row in chosen
    ]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(2, len(names), squeeze=False, height_ratios=[4, 3])
        for number, row in enumerate(chosen):
            upper, lower = axes[0][number], axes[1][number]
            picture = decode_image(original[row["image_name"]])
            size = picture.size
            picture.thumbnail((_DECODED_SIDE, _DECODED_SIDE))
            _show(upper, picture, _shortened(species.get(row["species_id"]) or str(row["species_id"]), 20))
            _outline_square(upper, picture)
            upper.set_xlabel(f"{size[0]} × {size[1]} px", fontsize=9)
            kept = decode_image(crop[row["image_name"]])
            _show(lower, kept, "")
            lower.set_xlabel(f"{kept.width} × {kept.height} px", fontsize=9)
        axes[0][0].set_ylabel("as published")
        axes[1][0].set_ylabel("centre square, resized")

    return Drawing({"jpg": draw_picture(draw, len(names) * _SIDE, 500)}, rows, {"photographs": len(names)})


@dataclass(frozen=True)
class TilesOf:
    """What the figure of tiles shows: predictions by a feature set on a tiling, of the first plot of a shard."""

    feature_set: str
    tiling: str
    shard: str


def draw_tiles(shown: TilesOf, lake: Lake) -> Drawing:
    """Draw a whole plot, with the species of the plot in one piece where that is predicted, beside its labelled tiles.

    Raises:
        ValueError: the shard has no predictions.
    """
    predictions = Artifact("tile_predictions", shown.shard)
    filters = [("feature_set", "=", shown.feature_set), ("rank", "=", 1)]
    best = lake.read(predictions, filters=filters).to_pylist()
    if not best:
        raise ValueError(f"{predictions} has no tile to show")
    plot = best[0]["plot_id"]
    species = _species(lake)
    of_plot = [row for row in best if row["plot_id"] == plot]
    tiles = [row for row in of_plot if row["tiling"] == shown.tiling]
    whole = next((row for row in of_plot if row["tiling"] == "full"), None)
    data = _data(lake, Artifact("plot_images", shown.shard), [plot], "plot_id")[plot]
    labels = {row["tile_index"]: [_name(species, row), f"{row['probability']:.2f}"] for row in tiles}
    boxes = [Tile(row["tile_index"], row["x"], row["y"], row["width"], row["height"], 1.0) for row in tiles]
    drawn = Image.open(io.BytesIO(tiled_plot(data, boxes, labels, side=_PLOT_SIDE)))
    picture = decode_image(data).resize(drawn.size, Image.Resampling.LANCZOS)
    title = "The whole plot" + (f": {_name(species, whole)}, {whole['probability']:.2f}" if whole else "")
    rows = [
        {"panel": row["tiling"], "item": str(row["tile_index"]), "label": _name(species, row)}
        | {axis: float(row[axis]) for axis in ("x", "y")}
        for row in (tiles if whole is None or whole in tiles else [whole, *tiles])
    ]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, 2)
        _show(axes[0], picture, _shortened(title, 60))
        _show(axes[1], drawn, f"{shown.tiling} tiles, by {shown.feature_set}")
        figure.supxlabel(plot, fontsize=10, color=GREY)

    height = round(_PLOT_SIDE * drawn.height / drawn.width) + 90
    found = {row["species_id"] for row in tiles}
    statistics = {"plot": plot, "shown_tiles": len(tiles), "species_in_tiles": len(found)}
    return Drawing({"jpg": draw_picture(draw, 2 * _PLOT_SIDE + 40, height)}, rows, statistics)


def _data(lake: Lake, artifact: Artifact, names: Sequence[str], column: str = "image_name") -> dict[str, bytes]:
    found = lake.read(artifact, [column, "data"], [(column, "in", [*names])]).to_pylist()
    return {row[column]: row["data"] for row in found}


def _species(lake: Lake) -> Mapping[int, str | None]:
    classes = lake.read(Artifact("class_map"), ["species_id", "species"]).to_pylist()
    return {row["species_id"]: row["species"] for row in classes}


def _name(species: Mapping[int, str | None], row: Mapping[str, Any]) -> str:
    return species.get(row["species_id"]) or str(row["species_id"])


def _show(axes: "Axes", picture: Image.Image, title: str) -> None:
    axes.imshow(np.asarray(picture.convert("RGB")), interpolation="antialiased")
    axes.set_title(title, fontsize=9.5, fontweight="normal", loc="center")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _outline_square(axes: "Axes", picture: Image.Image) -> None:
    from matplotlib.patches import Rectangle

    side = min(picture.size) - 1
    corner = ((picture.width - 1 - side) / 2, (picture.height - 1 - side) / 2)
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=rgb(COLOURS[1]), linewidth=2, clip_on=False))


def _shortened(name: str, characters: int) -> str:
    return name if len(name) <= characters else name[: characters - 1] + "…"
