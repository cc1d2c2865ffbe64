"""Figures of the paper as artifacts of the lake: pictures, and a table of what they show.

What belongs here: how a figure is written, and the charts of plain numbers among them. What does not: figures with
photographs (`photograph_figures.py`), and those of the pipeline (`pipeline_figures.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.schemas import FIGURE
from plantclef_assets.lake.sidecars import publish_sidecars
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.report.charts import COLOURS, GREY, INK, draw_chart, rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (840, 520)
_NAMED_SPECIES = 3
_SHOWN_PARTS = {"survey": "the survey's plots", "report": "composed plots that chose no rule"}
"""The parts of the sweep that measure rules, the better one first, in words."""


@dataclass(frozen=True)
class Drawing:
    """A figure that was drawn.

    Attributes:
        pictures: encoded pictures, by what their file names end with, such as `png`.
        rows: rows of the table FIGURE: what the pictures show.
        statistics: for the footer.
    """

    pictures: Mapping[str, bytes]
    rows: Sequence[Mapping[str, Any]]
    statistics: Mapping[str, Any]


@dataclass(frozen=True)
class DrawnFigure:
    """Writer of a figure."""

    lake: Lake
    draw: Callable[[Lake], Drawing]

    def __call__(self, shard: Shard) -> None:
        """Write pictures and table; the table comes last, so that the pictures that it records exist."""
        drawing = self.draw(self.lake)
        require_unchanged(self.lake, shard.provenance)
        files = figure_files(self.lake, shard.artifact, [*drawing.pictures])
        sidecars = publish_sidecars(self.lake, dict(zip(files, drawing.pictures.values(), strict=True)))
        with write_table(self.lake, shard.artifact, FIGURE, shard.provenance) as table:
            table.write(pa.RecordBatch.from_pylist([*drawing.rows], schema=FIGURE.schema()))
            table.statistics = {"rows_in": len(drawing.rows), "quarantined": 0, **drawing.statistics, **sidecars}


def figure_files(lake: Lake, artifact: Artifact, suffixes: Sequence[str]) -> tuple[LakePath, ...]:
    """Return the paths of the pictures of a figure."""
    return tuple(lake.path(artifact).with_suffix(f".{suffix}") for suffix in suffixes)


def draw_class_imbalance(lake: Lake) -> Drawing:
    """Draw how many photographs each species has, by its rank, on logarithmic axes."""
    classes = lake.read(Artifact("class_map"), ["species_id", "species", "images"]).to_pylist()
    classes = sorted((row for row in classes if row["images"]), key=lambda row: (-row["images"], row["species_id"]))
    rows = [
        {"panel": "species", "item": str(row["species_id"]), "label": row["species"], "x": rank, "y": row["images"]}
        for rank, row in enumerate(classes, 1)
    ]
    counts = [row["images"] for row in classes]
    statistics = {"shown_species": len(rows), "most_photographs": max(counts), "least_photographs": min(counts)}

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot(range(1, len(counts) + 1), counts, color=rgb(COLOURS[0]), linewidth=2, marker="o", markersize=4)
        axes.set_title(f"Photographs of {len(counts):,} species: {min(counts):,} to {max(counts):,}")
        axes.set_xlabel("rank of the species")
        axes.set_ylabel("photographs")
        _on_logarithms(axes)
        for row in rows[:_NAMED_SPECIES]:
            place = {"xytext": (9, 0), "textcoords": "offset points", "va": "center", "fontsize": 10, "color": GREY}
            axes.annotate(row["label"] or row["item"], (row["x"], row["y"]), **place)

    return Drawing({"png": draw_chart(draw, *_SIZE)}, rows, statistics)


def _on_logarithms(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for scale, axis in ((axes.set_xscale, axes.xaxis), (axes.set_yscale, axes.yaxis)):
        scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid()
    axes.tick_params(length=0)
    axes.margins(x=0.04, y=0.08)


def draw_f1_by_species(lake: Lake) -> Drawing:
    """Draw the F1 of every rule of the sweep against the mean number of species that it predicts for a plot."""
    columns = ["part", "feature_set", "tiling", "rule", "run", "f1_plot", "species_per_plot"]
    swept = [row for row in lake.read(Artifact("sweep"), columns).to_pylist() if row["f1_plot"] is not None]
    part = next(part for part in _SHOWN_PARTS if any(row["part"] == part for row in swept))
    swept = [row for row in swept if row["part"] == part]
    rows = [
        {
            "panel": part,
            "item": f"{row['feature_set']}, {row['tiling']}, {row['rule']}",
            "label": row["run"],
            "x": row["species_per_plot"],
            "y": row["f1_plot"],
        }
        for row in swept
    ]
    best = max(rows, key=lambda row: row["y"])
    statistics = {"rules": len(rows), "best_f1_plot": best["y"], "best_species_per_plot": best["x"]}
    tilings = sorted({row["tiling"] for row in swept}, key=lambda tiling: (tiling != "full", tiling))[: len(COLOURS)]

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for tiling, colour in zip(tilings, COLOURS, strict=False):
            own = [row for row in swept if row["tiling"] == tiling]
            x, y = ([row[name] for row in own] for name in ("species_per_plot", "f1_plot"))
            axes.scatter(x, y, s=14, color=[rgb(colour)], alpha=0.3, linewidths=0, label=tiling)
        runs = [row for row in rows if row["label"]]
        style = {"facecolors": "none", "edgecolors": INK, "linewidths": 1.3}
        axes.scatter([row["x"] for row in runs], [row["y"] for row in runs], s=44, label="declared run", **style)
        axes.set_title(f"{len(rows):,} rules on {_SHOWN_PARTS[part]}")
        axes.set_xlabel("species per plot, mean over plots")
        axes.set_ylabel("F1, mean over plots")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid()
        axes.tick_params(length=0)
        legend = axes.legend(title="tiling", loc="upper left", bbox_to_anchor=(1, 1), alignment="left")
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)

    return Drawing({"png": draw_chart(draw, *_SIZE)}, rows, statistics)
