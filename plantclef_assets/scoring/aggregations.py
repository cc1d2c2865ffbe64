"""The published aggregations, each a decorated function: from the tile probabilities of a plot to species scores.

A new aggregation is one more function here. What does not belong here: how species are chosen from the scores
(`prediction.py`).
"""

from typing import Annotated, Literal

import numpy as np

from plantclef_assets.scoring.registry import AGGREGATIONS, Parameter, SpeciesScores, aggregation, ranked
from plantclef_assets.scoring.tile_probabilities import TileProbabilities

__all__ = ["AGGREGATIONS"]

_UP_TO_NINE = [1, 2, 3, 4, 5, 6, 7, 8, 9]


@aggregation(sweep={})
def argmax_union(tiles: TileProbabilities) -> SpeciesScores:
    """Union of the most probable species of every tile: DS@GT PlantCLEF 2024 (arXiv 2407.06298).

    The score of a species is its best probability as an arg-max.
    """
    return topk_union(tiles, top_per_tile=1)


@aggregation(
    takes=("species_per_plot", "min_species", "min_score"),
    sweep={"top_per_tile": [2, 3, 5], "min_score": ["none", 0.1, 0.3], "min_species": [1]},
)
def topk_union(
    tiles: TileProbabilities,
    *,
    top_per_tile: Annotated[int, Parameter("Number of species taken from each tile", least=1)],
) -> SpeciesScores:
    """Union of the `top_per_tile` best species of every tile.

    With 1 and `min_species` = 1 it is the rule of Hamburg 2025. score(s) = max over the tiles t with
    rank_t(s) ≤ top_per_tile of p_t(s). With `min_score`, a species is in the union if one tile has it among its best
    with that probability.
    """
    named, best, _ = _best_of_tiles(tiles.probability, top_per_tile)
    return ranked(tiles.species_id[named], best)


@aggregation(
    "max",
    needs=["species_per_plot"],
    takes=["min_species", "min_score", "min_z"],
    sweep={"species_per_plot": _UP_TO_NINE},
)
def maximum(tiles: TileProbabilities) -> SpeciesScores:
    """Maximum of each species over the tiles.

    score(s) = max_t p_t(s), as Espitalier 2025 does.
    """
    return ranked(tiles.species_id, tiles.probability.max(axis=0))


@aggregation(
    needs=["species_per_plot"],
    takes=["min_species", "min_score", "min_z"],
    all_classes=True,
    sweep={"species_per_plot": _UP_TO_NINE},
)
def mean(tiles: TileProbabilities) -> SpeciesScores:
    """Mean of each species over the tiles.

    score(s) = Σ_t p_t(s) / number of tiles. Several teams of 2025 used it; whether it beats the maximum depends on
    model and scale. Over the best K species of each tile it is lower than over all classes, by less than 1/K: the
    others count as 0.
    """
    return ranked(tiles.species_id, tiles.probability.mean(axis=0, dtype=np.float64))


threshold = aggregation(
    "threshold",
    needs=["min_score"],
    takes=["species_per_plot", "min_species"],
    sweep={"min_score": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7], "min_species": [1]},
)(maximum)
"""Every species that some tile has with at least `min_score`: the scores of `max`, with another limit."""


@aggregation(
    takes=["species_per_plot", "min_species", "min_score"],
    sweep={"min_votes": [1, 2, 3], "min_species": [1]},
)
def vote(
    tiles: TileProbabilities,
    *,
    min_votes: Annotated[int, Parameter("Minimum number of tiles whose most probable species it is", least=1)] = 1,
) -> SpeciesScores:
    """Share of the tiles whose most probable species it is, as DS@GT 2025 count votes.

    score(s) = votes / number of tiles. Ties are ordered by the best probability that voted. Species with fewer than
    `min_votes` votes do not pass.
    """
    named, best, votes = _best_of_tiles(tiles.probability, 1)
    return ranked(tiles.species_id[named], votes / len(tiles.probability), votes >= min_votes, best)


@aggregation(
    needs=["mean_species_per_plot"],
    takes=["species_per_plot", "min_species"],
    sweep={"mean_species_per_plot": [2, 2.5, 3, 3.5, 4, 4.5, 5], "scored_by": ["max", "mean"]},
)
def bisection(
    tiles: TileProbabilities,
    *,
    scored_by: Annotated[
        Literal["bayesian", "max", "mean", "vote"],
        Parameter("Aggregation whose scores are used; max if not set"),
    ] = "max",
) -> SpeciesScores:
    """Scores of another aggregation, with one lowest score for all plots: Espitalier 2025.

    The lowest score is chosen so that the lists have `mean_species_per_plot` species on average.
    """
    return AGGREGATIONS[scored_by].score(tiles)


@aggregation(
    takes=["species_per_plot", "min_species", "min_score", "min_z"],
    needs_one_of=["species_per_plot", "min_score", "min_z"],
    all_classes=True,
    sweep={"min_z": ["none", 2, 4, 8], "species_per_plot": [2, 3, 4, 5, 7], "min_species": [1]},
)
def bayesian(tiles: TileProbabilities) -> SpeciesScores:
    """Mean over the tiles, weighted by certainty: the model averaging of NEUON 2024, with tiles for its models.

    With s the variance of a tile's probabilities over the species: v = |log10 s|, c = √((max v + ½ − v) / (max v + ½)),
    w = c / Σc, score(s) = Σ_t w_t p_t(s). A tile of variance 0 has no weight and no part in max v; if all tiles have
    variance 0, their weights are equal.
    """
    variance = tiles.probability.var(axis=1, dtype=np.float64)
    informative = variance > 0
    weight = np.ones(len(variance))
    if informative.any():
        doubt = np.abs(np.log10(variance, where=informative, out=np.zeros(len(variance))))
        most = doubt[informative].max() + 0.5
        weight = np.where(informative, np.sqrt((most - doubt) / most), 0)
    return ranked(tiles.species_id, ((weight / weight.sum())[:, None] * tiles.probability).sum(axis=0))


def _best_of_tiles(probability: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the columns among the `count` most probable species of some tile; ties by species_id, never at 0.

    Returns:
        the numbers of these columns, ascending; the best probability with which each is among a tile's best; and the
        number of these tiles.
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
