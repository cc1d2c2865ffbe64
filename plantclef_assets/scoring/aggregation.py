"""From what was seen in the tiles of a plot to the list of its species.

Every aggregation is a small function of the tile predictions of one plot, registered by its name in `AGGREGATIONS`;
its keyword arguments are the parameters a run may set. A new one is a function and a line of that table.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

COLUMNS = ("plot_id", "tile_index", "species_id", "probability", "rank")
"""Columns of a table of tile predictions that are read here."""


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


def argmax_union(tiles: TilePredictions) -> list[int]:
    """Unite the most probable species of every tile: the rule of DS@GT 2024 (arXiv 2407.06298).

    Returns:
        species_ids by their best probability as an arg-max, descending; equal ones by species_id.
    """
    first = tiles.rank == 1
    return _by_maximum(tiles.species_id[first], tiles.probability[first])


def maximum(tiles: TilePredictions, *, species_per_plot: int) -> list[int]:
    """Take the maximum of each species over the tiles, and the best `species_per_plot` of these.

    Returns:
        species_ids by that maximum, descending; equal ones by species_id.

    Raises:
        ValueError: `species_per_plot` is not a positive whole number.
    """
    if not isinstance(species_per_plot, int) or species_per_plot < 1:
        raise ValueError(f"species_per_plot is {species_per_plot!r}; it must be a whole number of at least 1")
    return _by_maximum(tiles.species_id, tiles.probability)[:species_per_plot]


AGGREGATIONS: dict[str, Callable[..., list[int]]] = {"argmax_union": argmax_union, "max": maximum}
"""Name in the settings → function of one plot's `TilePredictions` and its parameters."""


def check_aggregation(aggregation: str, parameters: Mapping[str, Any]) -> None:
    """Check a name and its parameters before any work starts.

    Raises:
        ValueError: the aggregation is unknown, or it has no such parameter, or one of its parameters is missing.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}: say one of {', '.join(sorted(AGGREGATIONS))}")
    accepted = {
        name: parameter
        for name, parameter in inspect.signature(AGGREGATIONS[aggregation]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    unknown = sorted(parameters.keys() - accepted.keys())
    required = {name for name, parameter in accepted.items() if parameter.default is parameter.empty}
    missing = sorted(required - parameters.keys())
    if unknown or missing:
        raise ValueError(
            f"aggregation {aggregation!r} takes {', '.join(accepted) or 'no parameters'}"
            + (f"; not {', '.join(unknown)}" if unknown else "")
            + (f"; missing is {', '.join(missing)}" if missing else "")
        )


def aggregate(
    predictions: pa.Table, aggregation: str, parameters: Mapping[str, Any] | None = None
) -> dict[str, list[int]]:
    """Aggregate the tile predictions of many plots.

    Args:
        predictions: one row per plot, tile and species, with at least `COLUMNS`, of one classifier and tiling; the
            rows of a plot may lie anywhere in it.
        aggregation: a name of `AGGREGATIONS`.
        parameters: its parameters by name.

    Returns:
        plot_id → species_ids, best first, with the plots in the order in which they first appear.

    Raises:
        ValueError: an unknown aggregation or wrong parameters, a missing column, ranks that do not count from 1, or
            a tile of a plot with the same rank twice (predictions of several tilings or classifiers mixed).
    """
    parameters = parameters or {}
    check_aggregation(aggregation, parameters)
    absent = [name for name in COLUMNS if name not in predictions.column_names]
    if absent:
        raise ValueError(f"the tile predictions have no column {', '.join(absent)}")
    function = AGGREGATIONS[aggregation]
    return {plot: function(tiles, **parameters) for plot, tiles in _plots(predictions)}


def _plots(predictions: pa.Table) -> list[tuple[str, TilePredictions]]:
    """Group a table by plot, in order of first appearance, checking tiles and ranks."""
    encoded = predictions["plot_id"].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # an empty or a very long column stays chunked
        encoded = encoded.unify_dictionaries().combine_chunks()
    names = encoded.dictionary.to_pylist() if len(encoded) else []
    plot = np.asarray(encoded.indices) if len(encoded) else np.empty(0, np.int32)
    tile, species, probability, rank = (predictions[name].to_numpy() for name in COLUMNS[1:])
    order = np.argsort(plot, kind="stable")
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


def _by_maximum(species_id: np.ndarray, probability: np.ndarray) -> list[int]:
    """Order species by their maximum probability, descending, then by species_id."""
    species, inverse = np.unique(species_id, return_inverse=True)
    best = np.full(len(species), -np.inf)
    np.maximum.at(best, inverse, probability)
    return [int(identifier) for identifier in species[np.lexsort((species, -best))]]
