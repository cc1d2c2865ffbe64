"""Classifiers and their predictions as artifacts of the lake."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from plantclef_assets.lake.schemas import TILE_PREDICTIONS
from plantclef_assets.lake.shards import Shard, write_shard
from plantclef_assets.lake.store import Artifact, Lake, record_metadata
from plantclef_assets.learning.classifier_files import read_classifier, write_classifier
from plantclef_assets.learning.features import read_features, split_feature_set
from plantclef_assets.learning.linear import LinearClassifier, TrainingConfig, fit_classifier
from plantclef_assets.learning.splits import VALIDATION, split_rows

_BATCH_ROWS = 4096


class UnknownSpeciesError(ValueError):
    """A classifier names species that the class map does not have."""


@dataclass(frozen=True)
class TrainedClassifier:
    """Makes the classifier of one feature set from all shards of its embeddings."""

    lake: Lake
    shards: Sequence[str]
    config: TrainingConfig
    validation_share: float
    log: Callable[[str], None]

    def __call__(self, shard: Shard) -> None:
        """Train and publish one classifier; its metrics and the two sides of its split are its figures."""
        feature_set = shard.artifact.partition or ""
        backbone, column = split_feature_set(feature_set)
        matrix = read_features(self.lake, [Artifact(f"{backbone}_embeddings", key) for key in self.shards], column)
        train, validation = split_rows(
            matrix.learn_tag, matrix.obs_id, validation_share=self.validation_share, seed=self.config.seed
        )
        classifier = fit_classifier(
            matrix.features,
            matrix.species_id,
            train,
            validation,
            config=self.config,
            progress=lambda epoch, loss, held_out: self.log(
                f"{feature_set}: epoch {epoch} of at most {self.config.epochs}, "
                f"training loss {loss:.4f}, validation loss {held_out:.4f}"
            ),
        )
        observations = np.array(matrix.obs_id, dtype=object)
        shared = (set(observations[train]) & set(observations[validation])) - {None, ""}
        figures = classifier.metrics | {
            "species": classifier.species_ids.tolist(),
            "shared_observations": len(shared),
            "first_shared": sorted(map(str, shared))[:5],
        }
        record = record_metadata(shard.provenance, _fingerprint(classifier), figures)
        with self.lake.publish(self.lake.path(shard.artifact)) as temporary:
            write_classifier(temporary, classifier, record)


@dataclass(frozen=True)
class CheckpointClassifier:
    """Makes the classifier of a feature set from the head inside its backbone's checkpoint; nothing is trained."""

    lake: Lake
    shards: Sequence[str]
    """The training shards that it is validated on; none where there are no training photographs."""

    def __call__(self, shard: Shard) -> None:
        """Publish the head for the species that the class map has, ascending; the figures say what is left out.

        Raises:
            UnknownSpeciesError: no class of the checkpoint is in the class map.
        """
        from plantclef_assets.vision.backbones import read_saved_head

        backbone, column = split_feature_set(shard.artifact.partition or "")
        weights = self.lake.path(Artifact(f"{backbone}_backbone", suffix="safetensors"))
        head = read_saved_head(self.lake.local(weights))
        assert head is not None, "the feature set exists only where the backbone has a head"
        known = self.lake.read(Artifact("class_map"), ["species_id"]).column("species_id").to_numpy()
        species_ids = head.species_ids.numpy()
        rows = np.argsort(species_ids, kind="stable")
        rows = rows[np.isin(species_ids[rows], known)]
        if not len(rows):
            raise UnknownSpeciesError("no class of the checkpoint is in class_map; its class list is of other ids")
        width = head.weight.shape[1]
        classifier = LinearClassifier(
            mean=np.zeros(width, np.float32),
            scale=np.ones(width, np.float32),
            weight=head.weight.numpy()[rows],
            bias=head.bias.numpy()[rows],
            species_ids=species_ids[rows],
        )
        uncovered = sorted(set(known.tolist()) - set(species_ids.tolist()))
        figures = {
            "species": classifier.species_ids.tolist(),
            "classes": len(rows),
            "classes_of_checkpoint": len(species_ids),
            "uncovered": len(uncovered),
            "first_uncovered": uncovered[:5],
            **self._validation(classifier, backbone, column),
        }
        record = record_metadata(shard.provenance, _fingerprint(classifier), figures)
        with self.lake.publish(self.lake.path(shard.artifact)) as temporary:
            write_classifier(temporary, classifier, record)

    def _validation(self, classifier: LinearClassifier, backbone: str, column: str) -> dict[str, float]:
        """Judge the head by the photographs that are tagged val, where there are any."""
        if not self.shards:
            return {}
        matrix = read_features(self.lake, [Artifact(f"{backbone}_embeddings", key) for key in self.shards], column)
        rows = np.array([tag == VALIDATION for tag in matrix.learn_tag], dtype=bool)
        if not rows.any():
            return {}
        truth = matrix.species_id[rows]
        hits = classifier.top_k(matrix.features[rows], 5)[0] == truth[:, None]
        _, counts = np.unique(truth, return_counts=True)
        return {
            "accuracy": float(hits[:, 0].mean()),
            "accuracy_top5": float(hits.any(axis=1).mean()),
            "majority_rate": float(counts.max() / len(truth)),
            "validation_rows": len(truth),
        }


@dataclass(frozen=True)
class PredictedTiles:
    """Makes shards of tile_predictions: the best species of each tile, by every classifier that some run uses."""

    lake: Lake
    pairs: Sequence[tuple[str, str]]
    """(feature set, tiling), sorted."""
    top_k: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard.

        Raises:
            UnknownSpeciesError: a classifier names species that the class map does not have.
        """
        known = set(self.lake.read(Artifact("class_map"), ["species_id"]).column("species_id").to_pylist())
        tiles = ["plot_id", "tiling", "tile_index", "x", "y", "width", "height"]
        with write_shard(self.lake, shard, TILE_PREDICTIONS) as table:
            plots: set[str] = set()
            for feature_set in dict.fromkeys(feature_set for feature_set, _ in self.pairs):
                layer = self.lake.path(Artifact("classifier", feature_set, "safetensors"))
                classifier = read_classifier(self.lake.local(layer))
                _require_known(feature_set, classifier, known)
                tilings = {tiling for name, tiling in self.pairs if name == feature_set}
                backbone, column = split_feature_set(feature_set)
                file = self.lake.open(Artifact(f"{backbone}_tile_embeddings", shard.artifact.partition))
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[*tiles, column]):
                    used = batch.filter(np.isin(batch.column("tiling").to_pylist(), list(tilings)))
                    if not used.num_rows:
                        continue
                    vectors = used.column(column)
                    features = np.asarray(vectors.flatten(), np.float32).reshape(-1, vectors.type.list_size)
                    species, probabilities = classifier.top_k(features, self.top_k)
                    count = species.shape[1]
                    rows = np.repeat(np.arange(used.num_rows), count)
                    table.add_columns(
                        **{name: used.column(name).take(rows) for name in tiles},
                        feature_set=[feature_set] * len(rows),
                        species_id=species.reshape(-1),
                        probability=probabilities.reshape(-1),
                        rank=np.tile(np.arange(1, count + 1, dtype=np.int32), used.num_rows),
                    )
                    plots.update(used.column("plot_id").to_pylist())
            table.rows_in = len(plots)
            table.figures = {"rows_out": len(plots)}


def _require_known(feature_set: str, classifier: LinearClassifier, known: set[int]) -> None:
    unknown = sorted(set(classifier.species_ids.tolist()) - known)
    if unknown:
        raise UnknownSpeciesError(
            f"classifier {feature_set} names {len(unknown)} species that are not in class_map "
            f"({', '.join(map(str, unknown[:5]))}); materialize class_map and the classifier from the same metadata"
        )


def _fingerprint(classifier: LinearClassifier) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in (classifier.mean, classifier.scale, classifier.weight, classifier.bias, classifier.species_ids):
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
