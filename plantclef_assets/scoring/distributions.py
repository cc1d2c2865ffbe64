"""The probabilities of all classes, plot by plot, from stored features of tiles and a classifier; nothing is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
import pyarrow as pa

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.species_scores import TileProbabilities

BLOCK_ROWS = 512
"""Tiles classified at a time: 16 MB of probabilities with all 7,806 species of PlantCLEF 2024."""


class Classifier(Protocol):
    """What has a class list, ascending int64 (S,), and gives float32 (n, D) → float32 (n, S)."""

    @property
    def species_ids(self) -> np.ndarray: ...  # noqa: D102

    def probabilities(self, features: np.ndarray) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True)
class Distributions:
    """The plots of a survey with the probabilities of all classes in their tiles, computed anew at each iteration.

    Attributes:
        lake: where the features are.
        embeddings: the shards of a table of tile embeddings, each plot whole in one of them.
        tiling: the tiling whose tiles are read.
        column: the vector column.
        classifier: of these features.
        block_rows: whole plots are classified together up to so many tiles; never fewer than one plot.
    """

    lake: Lake
    embeddings: Sequence[Artifact]
    tiling: str
    column: str
    classifier: Classifier
    block_rows: int = BLOCK_ROWS

    def __iter__(self) -> Iterator[tuple[str, TileProbabilities]]:
        """Give (plot_id, probabilities) in the order of the shards.

        Raises:
            MissingArtifactError: a shard is not in the lake.
            ValueError: the rows of a plot do not lie together, or the features have another width than the classifier.
        """
        seen: set[str] = set()
        for shard in self.embeddings:
            block: list[tuple[str, np.ndarray]] = []
            for plot_id, features in self._plots(shard):
                if plot_id in seen:
                    raise ValueError(f"{shard}: the tiles of plot {plot_id} do not lie together")
                seen.add(plot_id)
                if block and sum(len(one) for _, one in block) + len(features) > self.block_rows:
                    yield from self._classified(block)
                    block = []
                block.append((plot_id, features))
            yield from self._classified(block)

    def _plots(self, shard: Artifact) -> Iterator[tuple[str, np.ndarray]]:
        """Give the features (T, D) of the plots of one shard, reading a block of rows at a time."""
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
    """Give the features of rows in a row that are of one plot, with its name; rows of other tilings are left out."""
    vectors = batch.column(column)
    features = np.asarray(vectors.flatten(), np.float32).reshape(-1, vectors.type.list_size)
    names = batch.column("plot_id").to_pylist()
    used = (row for row, name in enumerate(batch.column("tiling").to_pylist()) if name == tiling)
    for name, rows in groupby(used, lambda row: str(names[row])):
        yield name, features[list(rows)]
