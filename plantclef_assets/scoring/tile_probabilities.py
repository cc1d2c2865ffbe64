"""The tile probabilities of a survey, plot by plot: the best species of each tile, or all classes.

`read_top_species` reads the former from tile predictions; `AllClasses` computes the latter from stored features and a
classifier, anew at each iteration, so that nothing of that size is kept.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
import pyarrow as pa

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.feature_sets import feature_set

COLUMNS = ("plot_id", "tile_index", "species_id", "probability", "rank")
"""Columns of a table of tile predictions that are read here."""
BLOCK_ROWS = 512
"""Tiles classified at a time: 16 MB of probabilities with all 7,806 species of PlantCLEF 2024."""


@dataclass(frozen=True)
class TileProbabilities:
    """Probabilities of S species in the T tiles of one plot.

    Attributes:
        species_id: int64 (S,), ascending.
        probability: float32 (T, S); 0 for species of a tile that were not kept.
    """

    species_id: np.ndarray
    probability: np.ndarray


Survey = Iterable[tuple[str, TileProbabilities]]
"""(plot_id, probabilities) of every plot; can be iterated again, unless it is an iterator."""


def read_stored_predictions(
    lake: Lake, shards: Iterable[str], classifier: str, tiling: str
) -> Iterator[tuple[str, TileProbabilities]]:
    """Return the stored predictions of a survey by one classifier over one tiling (see `read_top_species`).

    Raises:
        MissingArtifactError: a shard is not in the lake.
    """
    filters = [("feature_set", "=", classifier), ("tiling", "=", tiling)]
    artifacts = [Artifact("tile_predictions", key) for key in shards]
    dictionaries = ["plot_id", "feature_set", "tiling"]  # strings of millions of rows are slow to filter
    return read_top_species(pa.concat_tables(lake.read(one, list(COLUMNS), filters, dictionaries) for one in artifacts))


def read_top_species(predictions: pa.Table) -> Iterator[tuple[str, TileProbabilities]]:
    """Return the probabilities of each plot over the species that some tile of it kept; those of other tiles are 0.

    Args:
        predictions: one row per plot, tile and species, with at least `COLUMNS`, of one classifier and tiling. The rows
            of a plot need not be together. Ties within a tile are ordered by species_id, not by their ranks.

    Returns:
        (plot_id, probabilities), in the order in which the plots first appear.

    Raises:
        ValueError: a missing column, ranks that do not count from 1, or a tile of a plot with the same rank twice
            (predictions of several tilings or classifiers mixed).
    """
    absent = [name for name in COLUMNS if name not in predictions.column_names]
    if absent:
        raise ValueError(f"the tile predictions have no column {', '.join(absent)}")
    names, plot = _numbered(predictions["plot_id"])
    tile, species, probability, rank = (predictions[name].to_numpy() for name in COLUMNS[1:])
    order = np.argsort(plot, kind="stable")
    bounds = np.concatenate([[0], np.bincount(plot, minlength=len(names)).cumsum()])
    for number, name in enumerate(names):
        rows = order[bounds[number] : bounds[number + 1]]
        tiles, row = np.unique(tile[rows], return_inverse=True)
        _check_ranks(name, row, rank[rows])
        ids, column = np.unique(species[rows], return_inverse=True)
        dense = np.zeros((len(tiles), len(ids)), np.float32)
        dense[row, column] = probability[rows]
        yield name, TileProbabilities(ids, dense)


def _numbered(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Return the distinct names of a column, in the order in which they first appear, and the number of each row's."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if not len(encoded):
        return [], np.empty(0, np.int32)
    whole = encoded.unify_dictionaries().combine_chunks()
    number = np.asarray(whole.indices)
    used = np.asarray(whole.indices.unique())  # a dictionary can have names without rows, and any order
    place = np.empty(len(whole.dictionary), np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    return whole.dictionary.take(pa.array(used)).to_pylist(), place[number]


def _check_ranks(plot: str, tile: np.ndarray, rank: np.ndarray) -> None:
    """Check that the ranks of every tile, numbered from 0, start at 1 and that none occurs twice."""
    pairs = np.sort(tile * (int(rank.max()) + 1) + rank)
    if (pairs[1:] == pairs[:-1]).any():
        raise ValueError(
            f"plot {plot}: a tile has the same rank twice; pass the predictions of one classifier and one tiling"
        )
    if rank.min() != 1 or np.count_nonzero(rank == 1) != tile.max() + 1:
        raise ValueError(f"plot {plot}: the ranks of a tile do not count from 1 for its most probable species")


class Classifier(Protocol):
    """A class list, ascending int64 (S,), and a function float32 (n, D) → float32 (n, S)."""

    @property
    def species_ids(self) -> np.ndarray: ...  # noqa: D102

    def probabilities(self, features: np.ndarray) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True)
class AllClasses:
    """The plots of a survey with the probabilities of all classes in their tiles, computed at each iteration.

    Attributes:
        lake: the lake with the features.
        embeddings: the shards of a table of tile embeddings, each plot whole in one of them.
        tiling: the tiling whose tiles are read.
        column: the vector column.
        classifier: the classifier of these features.
        block_rows: most tiles that are classified together; whole plots, one at least.
    """

    lake: Lake
    embeddings: Sequence[Artifact]
    tiling: str
    column: str
    classifier: Classifier
    block_rows: int = BLOCK_ROWS

    @classmethod
    def of(cls, lake: Lake, name: str, embeddings: str, shards: Iterable[str], tiling: str) -> "AllClasses":
        """Return the plots of shards of `<backbone>_<embeddings>`, classified by the classifier of that name."""
        from plantclef_assets.models.classifier_files import open_classifier

        features = feature_set(name)
        tables = [Artifact(f"{features.backbone}_{embeddings}", key) for key in shards]
        return cls(lake, tables, tiling, features.column, open_classifier(lake, name))

    def __iter__(self) -> Iterator[tuple[str, TileProbabilities]]:
        """Yield (plot_id, probabilities) in the order of the shards.

        Raises:
            MissingArtifactError: a shard is not in the lake.
            ValueError: the rows of a plot are not together, or the features have another width than the classifier.
        """
        seen: set[str] = set()
        for shard in self.embeddings:
            block: list[tuple[str, np.ndarray]] = []
            for plot_id, features in self._plots(shard):
                if plot_id in seen:
                    raise ValueError(f"{shard}: the tiles of plot {plot_id} are not together")
                seen.add(plot_id)
                if block and sum(len(one) for _, one in block) + len(features) > self.block_rows:
                    yield from self._classified(block)
                    block = []
                block.append((plot_id, features))
            yield from self._classified(block)

    def _plots(self, shard: Artifact) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the features (T, D) of the plots of one shard, reading a block of rows at a time."""
        plot_id, parts = None, []
        columns = ["plot_id", "tiling", self.column]
        for batch in self.lake.open(shard).iter_batches(batch_size=self.block_rows, columns=columns):
            for name, features in _runs_of_rows(batch, self.tiling, self.column):
                if name != plot_id and plot_id is not None:
                    yield plot_id, np.concatenate(parts)
                    parts = []
                plot_id = name
                parts.append(features)
        if plot_id is not None:
            yield plot_id, np.concatenate(parts)

    def _classified(self, block: list[tuple[str, np.ndarray]]) -> Iterator[tuple[str, TileProbabilities]]:
        if not block:
            return
        probability = self.classifier.probabilities(np.concatenate([features for _, features in block]))
        row = 0
        for plot_id, features in block:
            yield plot_id, TileProbabilities(self.classifier.species_ids, probability[row : row + len(features)])
            row += len(features)


def _runs_of_rows(batch: pa.RecordBatch, tiling: str, column: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the features of consecutive rows of one plot, with its name; rows of other tilings are skipped."""
    vectors = batch.column(column)
    features = np.asarray(vectors.flatten(), np.float32).reshape(-1, vectors.type.list_size)
    names = batch.column("plot_id").to_pylist()
    used = (row for row, name in enumerate(batch.column("tiling").to_pylist()) if name == tiling)
    for name, rows in groupby(used, lambda row: str(names[row])):
        yield name, features[list(rows)]
