"""Cover of one plot: which species its tiles show, and the share of the plot that these tiles cover.

What belongs here: arithmetic with the tiles of one plot. What does not: names of species and files (`cover_files.py`).
The rule and its defaults are those of Pl@ntNet's survey service: a tile shows the species that are among its best
`max_rank` with a probability of at least `min_score`.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hits:
    """Predictions for the tiles of one plot: one entry per tile and species, arrays of equal length n.

    Attributes:
        tile_index: int (n,), number of the tile.
        boxes: int (n, 4), its left edge, upper edge, width and height in px of the upright plot.
        species_id: int64 (n,).
        score: float32 (n,), probability of the species in the tile.
        rank: int (n,), 1 for the most probable species of the tile.
    """

    tile_index: np.ndarray
    boxes: np.ndarray
    species_id: np.ndarray
    score: np.ndarray
    rank: np.ndarray

    def __len__(self) -> int:
        return len(self.tile_index)

    def take(self, rows: np.ndarray) -> "Hits":
        """Return some of the entries, chosen by a mask or by their numbers."""
        return Hits(self.tile_index[rows], self.boxes[rows], self.species_id[rows], self.score[rows], self.rank[rows])


@dataclass(frozen=True)
class CoveredSpecies:
    """One species of one plot.

    Attributes:
        species_id: its id.
        coverage: share of the plot's area under the union of the tiles that show it, in [0, 1].
        hits: the tiles that show it, by tile_index.
    """

    species_id: int
    coverage: float
    hits: Hits

    @property
    def max_score(self) -> float:
        """The highest probability of the species in a tile."""
        return float(self.hits.score.max())


@dataclass(frozen=True)
class PlotCover:
    """The species of one plot.

    Attributes:
        tiles: number of classified tiles.
        matched: number of tiles that show a species.
        uncovered: share of the plot's area that no tile with a species covers, in [0, 1].
        species: the species that show, by coverage, then highest score, descending; equal ones by species_id.
    """

    tiles: int
    matched: int
    uncovered: float
    species: tuple[CoveredSpecies, ...]


def cover_plot(predictions: Hits, width: int, height: int, *, min_score: float, max_rank: int) -> PlotCover:
    """Return the species that show in a plot, and the share of it that they cover.

    Args:
        predictions: those for all tiles of the plot, with their best `max_rank` species at least. Tiles may overlap
            and have several scales. No entry means that no tile was classified.
        width: of the upright plot, px.
        height: of the upright plot, px.
        min_score: lowest probability of a species that shows in a tile, itself included.
        max_rank: most species that a tile shows.

    Raises:
        ValueError: a tile reaches beyond the plot, so the predictions belong to another plot.
    """
    left, top, across, down = predictions.boxes.T
    if np.any((left < 0) | (top < 0) | (left + across > width) | (top + down > height)):
        raise ValueError(f"a tile reaches beyond the plot of {width} × {height} px; its size and its tiles do not fit")
    # Probabilities are float32: in double precision 0.7 would not reach a threshold of 0.7.
    shown = predictions.take((predictions.rank <= max_rank) & (predictions.score >= np.float32(min_score)))
    area = width * height
    species = []
    for species_id in np.unique(shown.species_id).tolist():
        hits = shown.take(shown.species_id == species_id)
        hits = hits.take(np.argsort(hits.tile_index, kind="stable"))
        species.append(CoveredSpecies(species_id, union_area(hits.boxes) / area, hits))
    species.sort(key=lambda one: (-one.coverage, -one.max_score, one.species_id))
    return PlotCover(
        tiles=len(np.unique(predictions.tile_index)),
        matched=len(np.unique(shown.tile_index)),
        uncovered=(area - union_area(shown.boxes)) / area,
        species=tuple(species),
    )


def union_area(boxes: np.ndarray) -> int:
    """Return the area under the union of boxes in whole pixels, each counted once.

    Args:
        boxes: int (n, 4), left edge, upper edge, width and height in px.
    """
    if not len(boxes):
        return 0
    left, top, across, down = np.asarray(boxes, np.int64).T
    columns, rows = np.unique([left, left + across]), np.unique([top, top + down])
    covered = np.zeros((len(rows) - 1, len(columns) - 1), bool)
    first_column, end_column = np.searchsorted(columns, (left, left + across))
    first_row, end_row = np.searchsorted(rows, (top, top + down))
    for box in range(len(boxes)):
        covered[first_row[box] : end_row[box], first_column[box] : end_column[box]] = True
    return int(np.diff(rows) @ covered @ np.diff(columns))
