"""Predictions of classifiers for tiles, as artifacts of the lake."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plantclef_assets.lake.schemas import TILE_PREDICTIONS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets.models.classifiers import UnknownSpeciesError
from plantclef_assets.models.feature_sets import PredictionConfig, feature_set
from plantclef_assets.models.linear import LinearClassifier

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
        places = ["plot_id", "tiling", "tile_index", "x", "y", "width", "height"]
        with write_shard(self.lake, shard, TILE_PREDICTIONS) as table:
            plots: set[str] = set()
            for name in dict.fromkeys(name for name, _ in self.config.feature_sets_and_tilings):
                layer = self.lake.path(Artifact("classifier", name, "safetensors"))
                classifier = read_classifier(self.lake.local(layer))
                _require_known(name, classifier, known)
                tilings = {tiling for pair, tiling in self.config.feature_sets_and_tilings if pair == name}
                source = feature_set(name)
                file = self.lake.open(Artifact(self.tiles[source.backbone], shard.artifact.partition))
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[*places, source.column]):
                    used = batch.filter(np.isin(batch.column("tiling").to_pylist(), list(tilings)))
                    if not used.num_rows:
                        continue
                    vectors = used.column(source.column)
                    features = np.asarray(vectors.flatten(), np.float32).reshape(-1, vectors.type.list_size)
                    species, probabilities = classifier.top_k(features, self.config.top_k)
                    count = species.shape[1]
                    rows = np.repeat(np.arange(used.num_rows), count)
                    table.add_columns(
                        **{place: used.column(place).take(rows) for place in places},
                        feature_set=[name] * len(rows),
                        species_id=species.reshape(-1),
                        probability=probabilities.reshape(-1),
                        rank=np.tile(np.arange(1, count + 1, dtype=np.int32), used.num_rows),
                    )
                    plots.update(used.column("plot_id").to_pylist())
            table.rows_in = len(plots)
            table.statistics = {"rows_out": len(plots)}


def _require_known(name: str, classifier: LinearClassifier, known: set[int]) -> None:
    unknown = sorted(set(classifier.species_ids.tolist()) - known)
    if unknown:
        raise UnknownSpeciesError(
            f"classifier {name} has {len(unknown)} species that are not in class_map "
            f"({', '.join(map(str, unknown[:5]))}); materialize class_map and the classifier from the same metadata"
        )
