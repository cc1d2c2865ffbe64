"""The embedding map as an artifact of the lake: a table, and a picture of the same photographs in several spaces.

The numbers are computed in `models/separation.py`.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from plantclef_assets.engines.progress import Progress
from plantclef_assets.errors import UserError
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.schemas import EMBEDDING_MAP
from plantclef_assets.lake.sidecars import publish_sidecars
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.models.separation import choose_photographs, lay_out, read_vectors, separation
from plantclef_assets.report.charts import COLOURS, GREY, LIGHT_GREY, draw_chart, rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = 540
"""Side of a panel, px."""
_NOTE = "Solid: held out from training. Faint: the others. Separation: mean silhouette of held-out features by species."
_FAINT = 0.35
"""Opacity of photographs that are not held out."""
_LEGEND_LINE = 24
_CHARACTER = 8.3
"""Width of a character of the legend, px, about."""


class MissingUmapError(UserError):
    """The embedding map is asked for, but umap-learn is not installed."""


def umap_available() -> bool:
    """Whether umap-learn, an optional dependency, is installed; it is not imported."""
    return importlib.util.find_spec("umap") is not None


@dataclass(frozen=True)
class EmbeddingMap:
    """Writer of the map of the commonest species in the space of each backbone: a table, and a picture."""

    lake: Lake
    backbones: Sequence[str]
    shards: Sequence[str]
    validation_share: float
    seed: int
    log: Callable[[str], None]

    def __call__(self, shard: Shard) -> None:
        """Write picture and table; the table comes last, so that the picture it records exists.

        Raises:
            MissingUmapError: umap-learn is not installed.
            MissingPhotographsError: one backbone's embeddings lack photographs that the first one's have.
        """
        if not umap_available():
            raise MissingUmapError(
                "The embedding map needs umap-learn, which is not installed; install it with "
                "`pip install 'plantclef-assets[umap]'`, or leave the asset embedding_map out."
            )
        artifacts = {name: [Artifact(f"{name}_embeddings", key) for key in self.shards] for name in self.backbones}
        shown = choose_photographs(
            self.lake, artifacts[self.backbones[0]], validation_share=self.validation_share, seed=self.seed
        )
        rows = len(shown.image_name)
        species = len(np.unique(shown.species_id))
        panels, positions, scores = [], {}, {}
        for backbone in self.backbones:
            vectors = self._vectors(artifacts[backbone], shown.image_name)
            scores[backbone] = separation(vectors[shown.held_out], shown.species_id[shown.held_out])
            scores[f"{backbone}_all"] = separation(vectors, shown.species_id)
            self.log(f"{backbone}: UMAP of {rows:,} photographs of {species} species; thousands take about a minute")
            positions[backbone] = lay_out(vectors, self.seed)
            panels.append(Panel(_title(backbone, scores[backbone]), positions[backbone]))
        classes = self.lake.read(Artifact("class_map"), ["species_id", "species"]).to_pylist()
        names = {row["species_id"]: row["species"] or str(row["species_id"]) for row in classes}
        picture = draw_map(panels, shown.species_id, shown.held_out, names)
        require_unchanged(self.lake, shard.provenance)
        sidecars = publish_sidecars(self.lake, {map_picture(self.lake, shard.artifact): picture})
        with write_table(self.lake, shard.artifact, EMBEDDING_MAP, shard.provenance) as table:
            for backbone, places in positions.items():
                table.write_rows(
                    image_name=shown.image_name,
                    species_id=shown.species_id,
                    backbone=[backbone] * rows,
                    x=places[:, 0],
                    y=places[:, 1],
                    held_out=shown.held_out,
                )
            table.statistics = {
                "rows_in": rows * len(self.backbones),
                "quarantined": 0,
                "photographs": rows,
                "photographs_held_out": int(shown.held_out.sum()),
                **{f"separation_{name}": score for name, score in scores.items()},
                **sidecars,
            }

    def _vectors(self, artifacts: Sequence[Artifact], image_names: Sequence[str]) -> Any:
        rows = sum(self.lake.open(artifact).metadata.num_rows for artifact in artifacts)
        with Progress(artifacts[0].asset, rows, "rows", self.log) as progress:
            return read_vectors(self.lake, artifacts, image_names, advance=progress.advance)


def map_picture(lake: Lake, artifact: Artifact) -> LakePath:
    """Return the path of the picture of a map."""
    return lake.path(artifact).with_suffix(".png")


@dataclass(frozen=True)
class Panel:
    """One space: its title, and the positions of the n photographs in it, float (n, 2)."""

    title: str
    positions: np.ndarray


def draw_map(
    panels: Sequence[Panel], species_id: np.ndarray, held_out: np.ndarray, names: Mapping[int, str | None]
) -> bytes:
    """Draw the panels side by side, with a legend of the species below, the commonest first.

    Args:
        panels: the spaces. Their axes have no unit and no meaning, so they have no ticks.
        species_id: int64 (n,), of at most five species.
        held_out: bool (n,); these photographs are solid and above the others, which are faint.
        names: the names of species; a species without one has its id in the legend.

    Returns:
        a PNG.

    Raises:
        ValueError: there are more species than colours.
    """
    species, counts = np.unique(species_id, return_counts=True)
    species = species[np.lexsort((species, -counts))].tolist()
    if len(species) > len(COLOURS):
        raise ValueError(f"a map shows {len(COLOURS)} species at most, not {len(species)}")
    width = len(panels) * _SIDE
    room = int((width - 60) / _CHARACTER)
    labels = [_shortened(names.get(one) or str(one), room) for one in species]
    columns = max(1, min(3, len(labels), room // (max(map(len, labels), default=1) + 4)))
    lines = -(-len(labels) // columns)

    below = _LEGEND_LINE * (lines + 1)

    def draw(figure: "Figure") -> None:
        from matplotlib.lines import Line2D

        grid = figure.add_gridspec(2, len(panels), height_ratios=[_SIDE, below])
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(grid[0, number])
            _draw_panel(axes, panel, [species_id == one for one in species], held_out)
        legend = figure.add_subplot(grid[1, :])
        legend.set_axis_off()
        swatches = [Line2D([], [], color=rgb(colour), marker="o", linestyle="", markersize=8) for colour in COLOURS]
        place = {"loc": "upper left", "bbox_to_anchor": (0, 1), "borderpad": 0, "borderaxespad": 0}
        entries = legend.legend(swatches[: len(labels)], labels, ncols=columns, handletextpad=0.2, **place)
        entries.set_in_layout(False)  # long names must not shrink the panels
        legend.text(0, 0, _NOTE, fontsize=10, color=GREY, transform=legend.transAxes)

    return draw_chart(draw, width, _SIDE + 54 + below)


def _draw_panel(axes: "Axes", panel: Panel, of_species: Sequence[np.ndarray], held_out: np.ndarray) -> None:
    axes.set_title(panel.title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(LIGHT_GREY)
    if not len(panel.positions):
        return
    # One scale for both directions: only the shape of clusters has a meaning.
    middle = (panel.positions.min(axis=0) + panel.positions.max(axis=0)) / 2
    reach = max(float(np.abs(panel.positions - middle).max()), 1e-6) * 1.07
    axes.set_box_aspect(1)
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    area = float(np.clip(90 / np.sqrt(len(panel.positions)), 2.5, 6)) ** 2 * np.pi
    for solid in (False, True):
        for rows, colour in zip(of_species, COLOURS, strict=False):
            x, y = panel.positions[rows & (held_out == solid)].T
            style = {"edgecolors": "white", "linewidths": 0.7} if solid else {"alpha": _FAINT, "linewidths": 0}
            axes.scatter(x, y, s=area, color=[rgb(colour)], **style)  # type: ignore[arg-type]


def _shortened(name: str, characters: int) -> str:
    return name if len(name) <= characters else name[: characters - 1] + "…"


def _title(backbone: str, score: float | None) -> str:
    name = {"finetuned": "fine-tuned"}.get(backbone, backbone)
    return f"{name}: separation {'not defined' if score is None else f'{score:.2f}'}"
