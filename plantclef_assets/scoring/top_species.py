"""The best K species of each tile, as `tile_predictions` keep them, as probabilities plot by plot."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from plantclef_assets.scoring.species_scores import TileProbabilities

COLUMNS = ("plot_id", "tile_index", "species_id", "probability", "rank")
"""Columns of a table of tile predictions that are read here."""


def top_species(predictions: pa.Table) -> Iterator[tuple[str, TileProbabilities]]:
    """Give the probabilities of each plot over the species that some tile of it kept; the others of a tile are 0.

    Args:
        predictions: one row per plot, tile and species, with at least `COLUMNS`, of one classifier and tiling; the
            rows of a plot may lie anywhere in it. Equal species of a tile go by species_id, whatever their ranks say.

    Returns:
        (plot_id, probabilities), in the order in which the plots first appear.

    Raises:
        ValueError: a missing column, ranks that do not count from 1, or a tile of a plot with the same rank twice
            (predictions of several tilings or classifiers mixed).
    """
    absent = [name for name in COLUMNS if name not in predictions.column_names]
    if absent:
        raise ValueError(f"the tile predictions have no column {', '.join(absent)}")
    encoded = predictions["plot_id"].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # an empty or a very long column stays chunked
        encoded = encoded.unify_dictionaries().combine_chunks()
    names = encoded.dictionary.to_pylist() if len(encoded) else []
    plot = np.asarray(encoded.indices) if len(encoded) else np.empty(0, np.int32)
    tile, species, probability, rank = (predictions[name].to_numpy() for name in COLUMNS[1:])
    order = np.argsort(plot, kind="stable")
    bounds = np.searchsorted(plot[order], np.arange(len(names) + 1))
    for number, name in enumerate(names):
        rows = order[bounds[number] : bounds[number + 1]]
        tiles, row = np.unique(tile[rows], return_inverse=True)
        _check_ranks(name, row, rank[rows])
        ids, column = np.unique(species[rows], return_inverse=True)
        dense = np.zeros((len(tiles), len(ids)), np.float32)
        dense[row, column] = probability[rows]
        yield name, TileProbabilities(ids, dense)


def _check_ranks(plot: str, tile: np.ndarray, rank: np.ndarray) -> None:
    """Check that the ranks of every tile, numbered from 0, begin with 1 and that none occurs twice."""
    pairs = tile * (int(rank.max()) + 1) + rank
    if len(np.unique(pairs)) != len(pairs):
        raise ValueError(
            f"plot {plot}: a tile has the same rank twice; give the predictions of one classifier and one tiling"
        )
    if rank.min() != 1 or len(np.unique(tile[rank == 1])) != tile.max() + 1:
        raise ValueError(f"plot {plot}: the ranks of a tile do not count from 1 for its most probable species")
