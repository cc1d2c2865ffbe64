"""Figures of the pipeline, drawn from the graph of assets: boxes in columns, arrows from inputs to what reads them.

An arrow that a longer path implies is left out (a transitive reduction), so that the figure stays readable.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from plantclef_assets.lake.store import Lake
from plantclef_assets.report.charts import COLOURS, GREY, INK, LIGHT_GREY, draw_chart, rgb
from plantclef_assets.report.figures import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMN, _ROW = 220, 66
"""Distance of two columns and of two rows, px."""
_BOX_WIDTH, _BOX_HEIGHT = 0.8, 0.56
"""Size of a box, of these distances."""
_TOP = 96
_LINE = 23
"""Most characters of a line in a box."""


@dataclass(frozen=True)
class Node:
    """An asset: its name, its group, and the names of the assets that it reads."""

    name: str
    group: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Pipeline:
    """A figure of some assets: its title, and the assets that it ends with.

    Attributes:
        title: of the figure.
        ends: the names of these assets; all that they are made from is in the figure.
    """

    title: str
    ends: tuple[str, ...]


def draw_pipelines(nodes: Sequence[Node], pipelines: Mapping[str, Pipeline], lake: Lake) -> Drawing:
    """Draw pipelines, each into a picture of its own.

    Args:
        nodes: all assets, inputs first.
        pipelines: the figures, by the first part of their pictures' suffix. What an earlier figure shows is in a later
            one only where it is read there, in grey.
        lake: not read.
    """
    shown: set[str] = set()
    drawn = set().union(*(_upstream(nodes, pipeline.ends) for pipeline in pipelines.values()))
    groups = dict.fromkeys(node.group for node in nodes if node.name in drawn)
    colours = dict(zip(groups, cycle([*map(rgb, COLOURS), INK])))
    pictures, rows = {}, []
    for name, pipeline in pipelines.items():
        upstream = _upstream(nodes, pipeline.ends)
        new = {node.name: _direct_inputs(node, nodes) for node in nodes if node.name in upstream - shown}
        known = {one: () for inputs in new.values() for one in inputs if one in shown}
        edges = {node.name: (known | new)[node.name] for node in nodes if node.name in known | new}
        placed = place(edges)
        own_groups = {node.name: node.group for node in nodes if node.name in new}
        pictures[f"{name}.png"] = _draw(edges, own_groups, placed, colours, pipeline.title)
        rows += [{"panel": name, "item": one, "label": None, "x": x, "y": y} for one, (x, y) in placed.items()]
        shown |= upstream
    return Drawing(pictures, rows, {"assets": len(shown)})


def _upstream(nodes: Sequence[Node], ends: Collection[str]) -> set[str]:
    """Return the names of assets and of all that they are made from."""
    found = set(ends)
    for node in reversed(nodes):
        if node.name in found:
            found |= set(node.inputs)
    return found


def _direct_inputs(node: Node, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Return the inputs of an asset that are not upstream of another input of it."""
    return tuple(
        one
        for one in node.inputs
        if not any(one in _upstream(nodes, (other,)) for other in node.inputs if other != one)
    )


def place(edges: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, float]]:
    """Return the column and the row of each asset: right of all that it reads, beside the mean of its neighbours.

    Args:
        edges: the inputs of each asset, inputs first.
    """
    readers = {name: [other for other in edges if name in edges[other]] for name in edges}
    column: dict[str, int] = {}
    for name, inputs in edges.items():
        column[name] = max((column[one] + 1 for one in inputs), default=0)
    for name in reversed([*edges]):  # next to the first asset that reads it
        if readers[name]:
            column[name] = min(column[other] for other in readers[name]) - 1
    columns = [[name for name in edges if column[name] == number] for number in range(max(column.values()) + 1)]
    row: dict[str, float] = {}
    for names in columns:
        row |= _rows(names)
    for neighbours in (edges, readers) * 3:
        for names in columns:
            mean = {name: sum(row[one] for one in neighbours[name] or [name]) for name in names}
            names.sort(key=lambda name: mean[name] / max(len(neighbours[name]), 1))
            row |= _rows(names)
    least = min(row.values())
    return {name: (float(column[name]), row[name] - least) for name in edges}


def _rows(names: Sequence[str]) -> dict[str, float]:
    """Return the rows of the assets of a column, around 0."""
    return {name: position - (len(names) - 1) / 2 for position, name in enumerate(names)}


def _draw(
    edges: Mapping[str, Sequence[str]],
    groups: Mapping[str, str],
    placed: Mapping[str, tuple[float, float]],
    colours: Mapping[str, Any],
    title: str,
) -> bytes:
    """Draw one pipeline; assets without a group are those of an earlier figure."""
    columns, rows = (max(place[axis] for place in placed.values()) + 1 for axis in (0, 1))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.set_title(title)
        axes.set_axis_off()
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_ylim(rows - 0.4, -0.6)
        for name, inputs in edges.items():
            for one in inputs:
                _arrow(axes, placed[one], placed[name])
            _box(axes, name, placed[name], colours[groups[name]] if name in groups else None)
        swatches = [_swatch(group, colours[group]) for group in dict.fromkeys(groups.values())]
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "columnspacing": 1.4, "handletextpad": 0.5}
        axes.legend(handles=swatches, ncols=len(swatches), **place)

    return draw_chart(draw, columns * _COLUMN, rows * _ROW + _TOP)


def _arrow(axes: "Axes", start: tuple[float, float], end: tuple[float, float]) -> None:
    half = _BOX_WIDTH / 2
    style = {"arrowstyle": "-|>", "color": "#9a9a9a", "linewidth": 1.1, "shrinkA": 0, "shrinkB": 1}
    axes.annotate("", (end[0] - half, end[1]), (start[0] + half, start[1]), arrowprops=style, zorder=1)


def _box(axes: "Axes", name: str, place: tuple[float, float], colour: Any) -> None:
    """Draw the box of an asset; one without a colour is grey."""
    from matplotlib.patches import Rectangle

    corner = (place[0] - _BOX_WIDTH / 2, place[1] - _BOX_HEIGHT / 2)
    paper = "white" if colour else "#f2f2f2"
    box = Rectangle(corner, _BOX_WIDTH, _BOX_HEIGHT, facecolor=paper, edgecolor=colour or LIGHT_GREY, linewidth=1.8)
    axes.add_patch(box).set_zorder(2)
    ink = INK if colour else GREY
    axes.text(*place, _in_lines(name), ha="center", va="center", fontsize=9.5, color=ink, zorder=3)


def _in_lines(name: str) -> str:
    """Return a name that fits into a box: a long one is broken behind the underscore next to its middle."""
    breaks = [number + 1 for number, letter in enumerate(name) if letter == "_"]
    if len(name) <= _LINE or not breaks:
        return name
    middle = min(breaks, key=lambda number: abs(number - len(name) / 2))
    return f"{name[:middle]}\n{name[middle:]}"


def _swatch(label: str, colour: Any) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor="white", edgecolor=colour, linewidth=1.8, label=label)
