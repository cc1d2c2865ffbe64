"""The predictions of classifiers as artifacts of the lake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plantclef_assets.lake.schemas import TILE_PREDICTIONS
from plantclef_assets.lake.shards import Shard, write_shard
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets.models.classifiers import UnknownSpeciesError
from plantclef_assets.models.features import split_feature_set
from plantclef_assets.models.linear import LinearClassifier

_BATCH_ROWS = 4096


@dataclass(frozen=True)
class PredictedTiles:
    """Makes shards of tile predictions: the best species of each tile, by every classifier that some run uses."""

    lake: Lake
    pairs: Sequence[tuple[str, str]]
    """(feature set, tiling), sorted."""
    top_k: int
    tiles: Mapping[str, str]
    """Backbone → the asset of its tile embeddings."""

    def __call__(self, shard: Shard) -> None:
        """Write one shard.

        Raises:
            UnknownSpeciesError: a classifier names species that the class map does not have.
        """
        known = set(self.lake.read(Artifact("class_map"), ["species_id"]).column("species_id").to_pylist())
        places = ["plot_id", "tiling", "tile_index", "x", "y", "width", "height"]
        with write_shard(self.lake, shard, TILE_PREDICTIONS) as table:
            plots: set[str] = set()
            for feature_set in dict.fromkeys(feature_set for feature_set, _ in self.pairs):
                layer = self.lake.path(Artifact("classifier", feature_set, "safetensors"))
                classifier = read_classifier(self.lake.local(layer))
                _require_known(feature_set, classifier, known)
                tilings = {tiling for name, tiling in self.pairs if name == feature_set}
                backbone, column = split_feature_set(feature_set)
                file = self.lake.open(Artifact(self.tiles[backbone], shard.artifact.partition))
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[*places, column]):
                    used = batch.filter(np.isin(batch.column("tiling").to_pylist(), list(tilings)))
                    if not used.num_rows:
                        continue
                    vectors = used.column(column)
                    features = np.asarray(vectors.flatten(), np.float32).reshape(-1, vectors.type.list_size)
                    species, probabilities = classifier.top_k(features, self.top_k)
                    count = species.shape[1]
                    rows = np.repeat(np.arange(used.num_rows), count)
                    table.add_columns(
                        **{name: used.column(name).take(rows) for name in places},
                        feature_set=[feature_set] * len(rows),
                        species_id=species.reshape(-1),
                        probability=probabilities.reshape(-1),
                        rank=np.tile(np.arange(1, count + 1, dtype=np.int32), used.num_rows),
                    )
                    plots.update(used.column("plot_id").to_pylist())
            table.rows_in = len(plots)
            table.statistics = {"rows_out": len(plots)}


def _require_known(feature_set: str, classifier: LinearClassifier, known: set[int]) -> None:
    unknown = sorted(set(classifier.species_ids.tolist()) - known)
    if unknown:
        raise UnknownSpeciesError(
            f"classifier {feature_set} names {len(unknown)} species that are not in class_map "
            f"({', '.join(map(str, unknown[:5]))}); materialize class_map and the classifier from the same metadata"
        )
