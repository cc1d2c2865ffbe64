"""From what was seen in the tiles of a plot to the list of its species.

An aggregation scores the species of each plot (`species_scores.py`), may fuse the visits to a place (`revisits.py`),
and chooses from the scores (`selection.py`), where it may look at all plots at once. It is an entry of `AGGREGATIONS`;
a new one is a scoring function and a line of that table, with the parameters that a run may set. Tile predictions hold
the best K species of each tile; an aggregation that needs the probabilities of all classes has to be given them
otherwise.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from plantclef_assets.scoring.revisits import REVISITS, mean_of_visits, union_of_visits, vote_of_visits
from plantclef_assets.scoring.selection import Selection, select_all
from plantclef_assets.scoring.species_scores import (
    SCORED_BY,
    SpeciesScores,
    TilePredictions,
    argmax_union,
    chosen,
    maximum,
    mean,
    topk_union,
    vote,
)

COLUMNS = ("plot_id", "tile_index", "species_id", "probability", "rank")
"""Columns of a table of tile predictions that are read here."""


@dataclass(frozen=True)
class Aggregation:
    """How the species of a plot are scored, and which parameters this and the choice from the scores take."""

    score: Callable[..., SpeciesScores]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


AGGREGATIONS: dict[str, Aggregation] = {
    "argmax_union": Aggregation(argmax_union),
    "bisection": Aggregation(chosen, ("mean_species_per_plot",), ("scored_by", "species_per_plot", "min_species")),
    "max": Aggregation(maximum, ("species_per_plot",), ("min_species", "min_score")),
    "mean": Aggregation(mean, ("species_per_plot",), ("min_species", "min_score")),
    "threshold": Aggregation(maximum, ("min_score",), ("species_per_plot", "min_species")),
    "topk_union": Aggregation(topk_union, ("top_per_tile",), ("species_per_plot", "min_species", "min_score")),
    "vote": Aggregation(vote, (), ("min_votes", "species_per_plot", "min_species", "min_score")),
}
"""Name in the settings → aggregation. `threshold` takes the maximum over the tiles where it reaches `min_score`;
`bisection` does so with the score that gives a mean number of species."""


def check_aggregation(aggregation: str, parameters: Mapping[str, Any], revisits: str | None = None) -> None:
    """Check a name and its parameters before any work starts.

    Raises:
        ValueError: the aggregation is unknown, or it has no such parameter, or one of its parameters is missing, or has
            an impossible value, or contradicts another; or the fusion of revisits is unknown.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}: say one of {', '.join(sorted(AGGREGATIONS))}")
    accepted = (*AGGREGATIONS[aggregation].needs, *AGGREGATIONS[aggregation].takes)
    unknown = sorted(parameters.keys() - set(accepted))
    missing = sorted(set(AGGREGATIONS[aggregation].needs) - parameters.keys())
    if unknown or missing:
        raise ValueError(
            f"aggregation {aggregation!r} takes {', '.join(accepted) or 'no parameters'}"
            + (f"; not {', '.join(unknown)}" if unknown else "")
            + (f"; missing is {', '.join(missing)}" if missing else "")
        )
    for name, value in parameters.items():
        _check_value(name, value)
    _check_limits(parameters)
    if revisits is not None and revisits not in REVISITS:
        raise ValueError(f"unknown fusion of revisits {revisits!r}: say one of {', '.join(REVISITS)}")


def aggregate(
    predictions: pa.Table,
    aggregation: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    revisits: str | None = None,
) -> dict[str, list[int]]:
    """Aggregate the tile predictions of many plots.

    Args:
        predictions: one row per plot, tile and species, with at least `COLUMNS`, of one classifier and tiling; the
            rows of a plot may lie anywhere in it.
        aggregation: a name of `AGGREGATIONS`.
        parameters: its parameters by name.
        revisits: how the visits to a place are fused, one of `REVISITS`; each plot stands alone if not given.

    Returns:
        plot_id → species_ids, best first (equal ones by species_id), with the plots in the order in which they first
        appear.

    Raises:
        ValueError: an unknown aggregation or wrong parameters, a mean number of species that cannot be met, a missing
            column, ranks that do not count from 1, or a tile of a plot with the same rank twice (predictions of
            several tilings or classifiers mixed).
    """
    parameters = parameters or {}
    check_aggregation(aggregation, parameters, revisits)
    absent = [name for name in COLUMNS if name not in predictions.column_names]
    if absent:
        raise ValueError(f"the tile predictions have no column {', '.join(absent)}")
    score = AGGREGATIONS[aggregation].score
    of_score = inspect.signature(score).parameters.keys() & parameters.keys()
    selection = Selection(**{name: value for name, value in parameters.items() if name not in of_score})
    survey = {
        plot: score(tiles, **{name: parameters[name] for name in of_score}) for plot, tiles in _plots(predictions)
    }
    if revisits == "mean":
        survey = mean_of_visits(survey)
    answers = select_all(survey, selection)
    if revisits == "union":
        answers = union_of_visits(answers)
    elif revisits == "vote":
        answers = vote_of_visits(answers, min_species=selection.min_species)
    return {plot: answer.species_id.tolist() for plot, answer in answers.items()}


def _check_value(name: str, value: Any) -> None:
    """Check the value of one parameter."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if name == "scored_by":
        if value not in SCORED_BY:
            raise ValueError(f"scored_by is {value!r}; it must be one of {', '.join(SCORED_BY)}")
    elif name == "min_score":
        if not is_number or not 0 < value <= 1:
            raise ValueError(f"min_score is {value!r}; it must be a number above 0 and at most 1")
    elif name == "mean_species_per_plot":
        if not is_number or value <= 0:
            raise ValueError(f"mean_species_per_plot is {value!r}; it must be a number above 0")
    elif not is_number or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")


def _check_limits(parameters: Mapping[str, Any]) -> None:
    """Check that what is asked for in the mean lies between the least and the most, and these not across."""
    least, most = parameters.get("min_species", 0), parameters.get("species_per_plot", math.inf)
    in_the_mean = parameters.get("mean_species_per_plot")
    if least > most:
        raise ValueError(f"min_species ({least}) is more than species_per_plot ({most})")
    if in_the_mean is not None and not least <= in_the_mean <= most:
        raise ValueError(
            f"mean_species_per_plot ({in_the_mean:g}) must not be less than min_species or more than species_per_plot"
        )


def _plots(predictions: pa.Table) -> list[tuple[str, TilePredictions]]:
    """Group a table by plot, in order of first appearance, by tile and rank within; checks tiles and ranks."""
    encoded = predictions["plot_id"].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # an empty or a very long column stays chunked
        encoded = encoded.unify_dictionaries().combine_chunks()
    names = encoded.dictionary.to_pylist() if len(encoded) else []
    plot = np.asarray(encoded.indices) if len(encoded) else np.empty(0, np.int32)
    tile, species, probability, rank = (predictions[name].to_numpy() for name in COLUMNS[1:])
    order = np.lexsort((rank, tile, plot))
    bounds = np.searchsorted(plot[order], np.arange(len(names) + 1))
    groups: list[tuple[str, TilePredictions]] = []
    for number, name in enumerate(names):
        rows = order[bounds[number] : bounds[number + 1]]
        tiles = TilePredictions(tile[rows], species[rows], probability[rows], rank[rows])
        _check_ranks(name, tiles)
        groups.append((name, tiles))
    return groups


def _check_ranks(plot: str, tiles: TilePredictions) -> None:
    """Check that the ranks of every tile begin with 1 and that none occurs twice."""
    pairs = tiles.tile_index.astype(np.int64) * (int(tiles.rank.max()) + 1) + tiles.rank
    if len(np.unique(pairs)) != len(pairs):
        raise ValueError(
            f"plot {plot}: a tile has the same rank twice; give the predictions of one classifier and one tiling"
        )
    with_first = np.unique(tiles.tile_index[tiles.rank == 1])
    if tiles.rank.min() != 1 or not np.array_equal(with_first, np.unique(tiles.tile_index)):
        raise ValueError(f"plot {plot}: the ranks of a tile do not count from 1 for its most probable species")
