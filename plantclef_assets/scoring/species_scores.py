"""What the tiles of a plot say of each species: one score a species, best first.

What belongs here: functions of the probabilities of one plot's tiles, wherever they come from: the best K species of
each tile (`top_species.py`) or all classes (`distributions.py`). What does not: which of the scored species are
answered (`selection.py`).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TileProbabilities:
    """What a classifier says of the T tiles of one plot, over S species.

    Attributes:
        species_id: int64 (S,), ascending.
        probability: float32 (T, S); 0 where a species was not kept of a tile.
    """

    species_id: np.ndarray
    probability: np.ndarray


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


def argmax_union(tiles: TileProbabilities) -> SpeciesScores:
    """Unite the most probable species of every tile: DS@GT PlantCLEF 2024 (arXiv 2407.06298).

    The score of a species is its best probability as an arg-max.
    """
    return topk_union(tiles, top_per_tile=1)


def topk_union(tiles: TileProbabilities, *, top_per_tile: int) -> SpeciesScores:
    """Unite the `top_per_tile` best species of every tile; with 1, and never an empty plot, the rule of Hamburg 2025.

    score(s) = max over the tiles t with rank_t(s) ≤ top_per_tile of p_t(s). Asked for a least score, a species is in
    the union where one tile has it among its best with that probability.
    """
    named, best, _ = _best_of_tiles(tiles.probability, top_per_tile)
    return ranked(tiles.species_id[named], best)


def maximum(tiles: TileProbabilities) -> SpeciesScores:
    """Take the maximum of each species over the tiles: score(s) = max_t p_t(s), as Espitalier 2025 does."""
    return ranked(tiles.species_id, tiles.probability.max(axis=0))


def mean(tiles: TileProbabilities) -> SpeciesScores:
    """Take the mean of each species over the tiles: score(s) = Σ_t p_t(s) / number of tiles.

    Several teams of 2025 used it; whether it beats the maximum depends on model and scale. Over the best K species of
    each tile it is below the mean over all classes by less than 1/K, since what is not kept counts as 0.
    """
    return ranked(tiles.species_id, tiles.probability.mean(axis=0, dtype=np.float64))


def vote(tiles: TileProbabilities, *, min_votes: int = 1) -> SpeciesScores:
    """Let every tile vote for its most probable species, as DS@GT 2025 do: score(s) = votes / number of tiles.

    Equal votes are ordered by the best probability that voted. Species with fewer than `min_votes` votes do not pass.
    """
    named, best, votes = _best_of_tiles(tiles.probability, 1)
    return ranked(tiles.species_id[named], votes / len(tiles.probability), votes >= min_votes, best)


def bayesian(tiles: TileProbabilities) -> SpeciesScores:
    """Average the tiles, the surer ones with more weight: NEUON 2024's model averaging, with tiles for its models.

    With s the variance of a tile's probabilities over the species: v = |log10 s|, c = √((max v + ½ − v) / (max v + ½)),
    w = c / Σc, score(s) = Σ_t w_t p_t(s). A tile of variance 0 says nothing: it has no weight and no part in max v;
    where all are so, they weigh alike.
    """
    variance = tiles.probability.var(axis=1, dtype=np.float64)
    says = variance > 0
    weight = np.ones(len(variance))
    if says.any():
        doubt = np.abs(np.log10(variance, where=says, out=np.zeros(len(variance))))
        most = doubt[says].max() + 0.5
        weight = np.where(says, np.sqrt((most - doubt) / most), 0)
    return ranked(tiles.species_id, ((weight / weight.sum())[:, None] * tiles.probability).sum(axis=0))


SCORED_BY = {"bayesian": bayesian, "max": maximum, "mean": mean, "vote": vote}
"""What a threshold over all plots can be laid on."""


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


def _best_of_tiles(probability: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find what is among the `count` most probable species of some tile, equal ones by species_id; never at 0.

    Returns:
        of the columns that are, ascending: their numbers, the best probability with which each is among them, and in
        how many tiles.
    """
    rest, rows = probability.copy(), np.arange(len(probability))
    best, tiles = np.zeros(probability.shape[1], probability.dtype), np.zeros(probability.shape[1], np.int64)
    for _ in range(min(count, probability.shape[1])):
        columns = rest.argmax(axis=1)  # the first of equal ones
        values = rest[rows, columns]
        np.maximum.at(best, columns[values > 0], values[values > 0])
        np.add.at(tiles, columns[values > 0], 1)
        rest[rows, columns] = 0
    named = np.flatnonzero(tiles)
    return named, best[named], tiles[named]
