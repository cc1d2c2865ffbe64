"""What the tiles of a plot say of each species: one score a species, best first.

What belongs here: functions of the tile predictions of one plot, which hold the best K species of each tile and no
more. What does not: which of the scored species are answered (`selection.py`).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TilePredictions:
    """What a classifier said of the tiles of one plot: one entry per tile and species, of equal lengths.

    Attributes:
        tile_index: int, number of the tile.
        species_id: int64.
        probability: float, of the species in the tile.
        rank: int, 1 for the most probable species of the tile.
    """

    tile_index: np.ndarray
    species_id: np.ndarray
    probability: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class SpeciesScores:
    """The species of one plot, best first, each once.

    Attributes:
        species_id: int64.
        score: float64, descending.
        passes: bool, whether the species meets the rule's own demand; others may only fill a list that is too short.
    """

    species_id: np.ndarray
    score: np.ndarray
    passes: np.ndarray

    def __len__(self) -> int:
        return len(self.species_id)

    def take(self, rows: np.ndarray) -> "SpeciesScores":
        """Give some of the species."""
        return SpeciesScores(self.species_id[rows], self.score[rows], self.passes[rows])


def argmax_union(tiles: TilePredictions) -> SpeciesScores:
    """Unite the most probable species of every tile: the rule of DS@GT 2024 (arXiv 2407.06298).

    The score of a species is its best probability as an arg-max.
    """
    return topk_union(tiles, top_per_tile=1)


def topk_union(tiles: TilePredictions, *, top_per_tile: int) -> SpeciesScores:
    """Unite the `top_per_tile` best species of every tile; with 1, and never an empty plot, the rule of Hamburg 2025.

    score(s) = max over the tiles t with rank_t(s) ≤ top_per_tile of p_t(s). Asked for a least score, a species is in
    the union where one tile has it among its best with that probability.
    """
    among = tiles.rank <= top_per_tile
    return _by_maximum(tiles.species_id[among], tiles.probability[among])


def maximum(tiles: TilePredictions) -> SpeciesScores:
    """Take the maximum of each species over the tiles: score(s) = max_t p_t(s), as Espitalier 2025 does."""
    return _by_maximum(tiles.species_id, tiles.probability)


def mean(tiles: TilePredictions) -> SpeciesScores:
    """Take the mean of each species over the tiles: score(s) = Σ_t p_t(s) / number of tiles.

    Several teams of 2025 used it; whether it beats the maximum depends on model and scale. A species that is not among
    the K kept of a tile counts as 0 there. It is no likelier there than the K-th, so the score is below the true mean
    by less than 1/K.
    """
    species, inverse = np.unique(tiles.species_id, return_inverse=True)
    sums = np.bincount(inverse, tiles.probability, len(species))
    return ranked(species, sums / len(np.unique(tiles.tile_index)))


def vote(tiles: TilePredictions, *, min_votes: int = 1) -> SpeciesScores:
    """Let every tile vote for its most probable species, as DS@GT 2025 do: score(s) = votes / number of tiles.

    Equal votes are ordered by the best probability that voted. Species with fewer than `min_votes` votes do not pass.
    """
    first = tiles.rank == 1
    species, inverse, votes = np.unique(tiles.species_id[first], return_inverse=True, return_counts=True)
    best = np.full(len(species), -np.inf)
    np.maximum.at(best, inverse, tiles.probability[first])
    return ranked(species, votes / first.sum(), votes >= min_votes, best)


SCORED_BY = {"max": maximum, "mean": mean, "vote": vote}
"""What a threshold over all plots can be laid on."""


def chosen(tiles: TilePredictions, *, scored_by: str = "max") -> SpeciesScores:
    """Score by one of `SCORED_BY`."""
    return SCORED_BY[scored_by](tiles)


def ranked(
    species_id: np.ndarray,
    score: np.ndarray,
    passes: np.ndarray | None = None,
    second: np.ndarray | None = None,
) -> SpeciesScores:
    """Order species by score, descending; equal ones by the second score, if there is one, then by species_id."""
    keys = (species_id, -score) if second is None else (species_id, -second, -score)
    passes = np.ones(len(species_id), bool) if passes is None else passes
    return SpeciesScores(species_id, score.astype(np.float64), passes).take(np.lexsort(keys))


def _by_maximum(species_id: np.ndarray, probability: np.ndarray) -> SpeciesScores:
    species, inverse = np.unique(species_id, return_inverse=True)
    best = np.full(len(species), -np.inf)
    np.maximum.at(best, inverse, probability)
    return ranked(species, best)
