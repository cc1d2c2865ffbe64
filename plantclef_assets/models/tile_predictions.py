"""Predictions of classifiers for tiles, as artifacts of the lake."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from plantclef_assets.lake.schemas import TILE_PREDICTIONS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets.models.classifier_files import open_classifier
from plantclef_assets.models.classifiers import UnknownSpeciesError
from plantclef_assets.models.feature_sets import PredictionConfig, feature_set
from plantclef_assets.models.linear import LinearClassifier

PLACES = ("plot_id", "tiling", "tile_index", "x", "y", "width", "height")
"""Columns of tile embeddings that say where a tile lies."""
_BATCH_ROWS = 4096


@dataclass(frozen=True)
class PredictedTiles:
    """Writes shards of tile predictions: the most probable species of each tile, by every classifier of a run.

    Attributes:
        lake: the lake.
        config: see there.
        tiles: backbone → asset of its tile embeddings.
    """

    lake: Lake
    config: PredictionConfig
    tiles: Mapping[str, str]

    def __call__(self, shard: Shard) -> None:
        """Write one shard.

        Raises:
            UnknownSpeciesError: a classifier has species that the class map does not have.
        """
        known = set(self.lake.read(Artifact("class_map"), ["species_id"]).column("species_id").to_pylist())
        pairs = self.config.feature_sets_and_tilings
        with write_shard(self.lake, shard, TILE_PREDICTIONS) as table:
            plots: set[str] = set()
            for name in dict.fromkeys(name for name, _ in pairs):
                classifier = open_classifier(self.lake, name)
                _require_known(name, classifier, known)
                for used, features in read_tiles(self.lake, shard.artifact.partition, self.tiles, name, pairs):
                    species, probabilities = classifier.top_k(features, self.config.top_k)
                    count = species.shape[1]
                    rows = np.repeat(np.arange(used.num_rows), count)
                    table.add_columns(
                        **{place: used.column(place).take(rows) for place in PLACES},
                        feature_set=[name] * len(rows),
                        species_id=species.reshape(-1),
                        probability=probabilities.reshape(-1),
                        rank=np.tile(np.arange(1, count + 1, dtype=np.int32), used.num_rows),
                    )
                    plots.update(used.column("plot_id").to_pylist())
            table.rows_in = len(plots)
            table.statistics = {"rows_out": len(plots)}


def read_tiles(
    lake: Lake, key: str | None, tiles: Mapping[str, str], name: str, pairs: Sequence[tuple[str, str]]
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Yield the tiles of a shard that a classifier predicts, with their features float32 (n, D), batch by batch.

    Args:
        lake: the lake.
        key: of the shard.
        tiles: backbone → asset of its tile embeddings.
        name: of the classifier.
        pairs: of a classifier's name and a tiling; only tilings of this classifier are read.
    """
    source, tilings = feature_set(name), [tiling for pair, tiling in pairs if pair == name]
    file = lake.open(Artifact(tiles[source.backbone], key))
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[*PLACES, source.column]):
        used = batch.filter(np.isin(batch.column("tiling").to_pylist(), tilings))
        if used.num_rows:
            vectors = used.column(source.column)
            yield used, np.asarray(vectors.flatten(), np.float32).reshape(-1, vectors.type.list_size)


def _require_known(name: str, classifier: LinearClassifier, known: set[int]) -> None:
    unknown = sorted(set(classifier.species_ids.tolist()) - known)
    if unknown:
        raise UnknownSpeciesError(
            f"classifier {name} has {len(unknown)} species that are not in class_map "
            f"({', '.join(map(str, unknown[:5]))}); materialize class_map and the classifier from the same metadata"
        )
