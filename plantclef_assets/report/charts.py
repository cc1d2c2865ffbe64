"""Charts by matplotlib, as PNGs: learning curves, and the agreement between runs.

What belongs here: the style of charts, and those of plain numbers. What does not: pictures on photographs
(`photographs.py`), and the map of features (`embedding_map.py`). matplotlib is used by its object API, never pyplot,
and is imported where it is used.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ((68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (170, 51, 119))
"""Paul Tol's "bright" scheme, for all kinds of colour vision (https://personal.sron.nl/~pault/)."""
INK, GREY, LIGHT_GREY = "#222222", "#606060", "#d5d5d5"
DPI = 100
_STYLE: Any = {
    "font.size": 11,
    "text.color": INK,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.labelcolor": GREY,
    "axes.edgecolor": LIGHT_GREY,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LIGHT_GREY,
    "grid.linewidth": 0.7,
    "xtick.color": LIGHT_GREY,
    "ytick.color": LIGHT_GREY,
    "xtick.labelcolor": GREY,
    "ytick.labelcolor": GREY,
    "legend.frameon": False,
}
_PALETTE = 256
"""Most colours of a PNG: charts have few, and go into Dagster's event log, so they stay small."""
_JPEG_QUALITY = 80
_MOST_MARKED_EPOCHS = 40


def draw_chart(draw: Callable[["Figure"], None], width: float, height: float) -> bytes:
    """Draw a chart on a new figure of a size in px.

    Returns:
        a PNG without metadata: the same chart has the same bytes, and the user's matplotlibrc is not used.
    """
    buffer = io.BytesIO()
    chart = _draw(draw, width, height).quantize(_PALETTE, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    chart.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def draw_picture(draw: Callable[["Figure"], None], width: float, height: float) -> bytes:
    """Draw a figure with photographs, of a size in px.

    Returns:
        a JPEG without metadata.
    """
    buffer = io.BytesIO()
    _draw(draw, width, height).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _draw(draw: Callable[["Figure"], None], width: float, height: float) -> Image.Image:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained", facecolor="white")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.03)  # type: ignore[union-attr]  # inches
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """Return a colour of `COLOURS` as matplotlib takes it."""
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


@dataclass(frozen=True)
class Curves:
    """One panel: its title, and lines by their names, each a value for some consecutive epochs; at most five names."""

    title: str
    lines: Mapping[str, Mapping[int, float]]


def draw_curves(panels: Sequence[Curves], *, best_epoch: int) -> bytes:
    """Draw learning curves in panels side by side; a vertical line marks the epoch that was kept.

    Returns:
        a PNG.
    """
    names = dict.fromkeys(name for panel in panels for name in panel.lines)
    colours = dict(zip(names, COLOURS, strict=False))  # a line has the same colour in all panels

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, place in zip(panels, axes, strict=True):
            _draw_curves(place, panel, colours, best_epoch)

    return draw_chart(draw, 800 if len(panels) == 1 else 560 * len(panels), 400)


def _draw_curves(axes: "Axes", panel: Curves, colours: Mapping[str, tuple[int, int, int]], best_epoch: int) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = sorted({epoch for line in panel.lines.values() for epoch in line})
    if epochs[0] <= best_epoch <= epochs[-1]:
        axes.axvline(best_epoch, color=GREY, linewidth=1.5, linestyle=(0, (4, 3)), label=f"kept: epoch {best_epoch}")
    marker = "o" if len(epochs) <= _MOST_MARKED_EPOCHS else None
    for name, line in panel.lines.items():
        colour = rgb(colours[name])
        axes.plot([*line], [*line.values()], color=colour, linewidth=2, marker=marker, markersize=5, label=name)
    axes.set_title(panel.title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.margins(x=0.03, y=0.08)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda number: labels[number].startswith("kept:"))
    axes.legend([handles[one] for one in order], [labels[one] for one in order], loc="best")


def draw_agreement(names: Sequence[str], values: Sequence[Sequence[float]]) -> bytes:
    """Draw a square matrix of values in [0, 1] as a heat map, with names at the left and numbers at the top.

    Returns:
        a PNG.
    """
    cell = float(np.clip(800 / max(len(names), 1), 32, 80))
    labels = [f"{name}  {number}" for number, name in enumerate(names, 1)]
    matrix = np.asarray(values, float).reshape(len(names), len(names))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        image: Any = axes.imshow(matrix, cmap="YlGnBu", vmin=0, vmax=1)
        for row, column in np.ndindex(matrix.shape):
            value = matrix[row, column]
            ink = "white" if value > 0.55 else INK
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=min(cell / 5.4, 11))
        axes.set_xticks(range(len(names)), [str(number + 1) for number in range(len(names))])
        axes.set_yticks(range(len(names)), labels)
        axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False, labelcolor=INK)
        edges = np.arange(-0.5, len(names))
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 300 / (cell * len(names))), aspect=18, pad=0.02)
        bar.set_label("mean Jaccard index")
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=0)

    side = cell * len(names)
    return draw_chart(draw, side + 8.2 * max(map(len, labels), default=0) + 150, max(side + 70, 260))
