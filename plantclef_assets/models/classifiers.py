"""Classifiers as artifacts of the lake: trained ones, and the one inside a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plantclef_assets.ingest.validation_split import VALIDATION, split_sides
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.store import Artifact, Lake, record_metadata
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models.classifier_files import fingerprint_classifier, write_classifier
from plantclef_assets.models.devices import resolve_device
from plantclef_assets.models.evaluation import Taxonomy, evaluate, predict
from plantclef_assets.models.feature_sets import FeatureSet, feature_set
from plantclef_assets.models.features import FeatureMatrix, read_features
from plantclef_assets.models.fitting import fit_classifier, resident_bytes
from plantclef_assets.models.linear import LinearClassifier
from plantclef_assets.models.training_config import TrainingConfig


class UnknownSpeciesError(ValueError):
    """A classifier has species that the class map does not have."""


@dataclass(frozen=True)
class TrainedClassifier:
    """Trains classifiers, each on all shards of its embeddings.

    Attributes:
        lake: the lake.
        shards: keys of the training shards.
        configs: name of a feature set → configuration of its classifier.
        validation_share: share of the photographs that validate, if they have no learn_tag.
        holdout_share: share of the training observations that are held out.
        device: name of the device.
        log: receives messages on the progress.
    """

    lake: Lake
    shards: Sequence[str]
    configs: Mapping[str, TrainingConfig]
    validation_share: float
    holdout_share: float
    device: str
    log: Callable[[str], None]

    def __call__(self, shard: Shard) -> None:
        """Train and publish one classifier; its metrics and the sides of its split are recorded.

        Raises:
            ValueError: there are too few photographs, or training diverges.
        """
        features = feature_set(shard.artifact.partition or "")
        config, device = self.configs[features.name], resolve_device(self.device)
        matrix = _read(self.lake, self.shards, features)
        sides = split_sides(
            matrix.learn_tag,
            matrix.obs_id,
            matrix.species_id,
            validation_share=self.validation_share,
            holdout_share=self.holdout_share if config.stop_on == "holdout" else None,
            seed=config.seed,
        )
        rows, width = matrix.features.shape
        needed = resident_bytes(rows, width, len(np.unique(matrix.species_id)), config)
        self.log(f"{features.name}: {rows:,} rows of width {width} on {device}, about {needed / 1e6:,.0f} MB")
        classifier = fit_classifier(
            matrix.features,
            matrix.species_id,
            sides,
            config=config,
            taxonomy=_taxonomy(self.lake),
            device=device,
            progress=lambda epoch, loss, held_out: self.log(
                f"{features.name}: epoch {epoch} of at most {config.epochs}, "
                f"training loss {loss:.4f}, stopping loss {held_out:.4f}"
            ),
        )
        shared = sides.shared_observations(matrix.obs_id)
        figures = classifier.metrics | {
            "start": config.start,
            "epochs_at_most": config.epochs,
            "species": classifier.species_ids.tolist(),
            "shared_observations": len(shared),
            "first_shared": shared[:5],
        }
        _publish(self.lake, shard, classifier, figures)


@dataclass(frozen=True)
class CheckpointClassifier:
    """Publishes the classifier inside a backbone's checkpoint; nothing is trained.

    Attributes:
        lake: the lake.
        shards: keys of the training shards that it is validated on; none without training photographs.
    """

    lake: Lake
    shards: Sequence[str]

    def __call__(self, shard: Shard) -> None:
        """Publish the head for the species of the class map, ascending; the species without a class are recorded.

        Raises:
            UnknownSpeciesError: no class of the checkpoint is in the class map.
        """
        from plantclef_assets.models.backbone_files import read_saved_head

        features = feature_set(shard.artifact.partition or "")
        weights = self.lake.path(Artifact(f"{features.backbone}_backbone", suffix="safetensors"))
        head = read_saved_head(self.lake.local(weights))
        assert head is not None, "the feature set exists only if the backbone has a head"
        known = self.lake.read(Artifact("class_map"), ["species_id"]).column("species_id").to_numpy()
        species_ids = head.species_ids.numpy()
        rows = np.argsort(species_ids, kind="stable")
        rows = rows[np.isin(species_ids[rows], known)]
        if not len(rows):
            raise UnknownSpeciesError("no class of the checkpoint is in class_map; its class list has other ids")
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
            **self._validation(classifier, features),
        }
        _publish(self.lake, shard, classifier, figures)

    def _validation(self, classifier: LinearClassifier, features: FeatureSet) -> dict[str, float]:
        """Return the metrics of the head on the photographs with the tag val, if there are any."""
        if not self.shards:
            return {}
        matrix = _read(self.lake, self.shards, features)
        rows = np.array([tag == VALIDATION for tag in matrix.learn_tag], dtype=bool)
        if not rows.any():
            return {}
        predictions = predict(classifier, matrix.features, matrix.species_id, np.flatnonzero(rows))
        _, counts = np.unique(predictions.truth, return_counts=True)
        # Its training photographs are unknown, so the most common species is that of these photographs.
        majority = {"majority_rate": float(counts.max() / len(predictions.truth))}
        return evaluate(predictions, matrix.species_id[~rows], _taxonomy(self.lake)) | majority


def _read(lake: Lake, shards: Sequence[str], features: FeatureSet) -> FeatureMatrix:
    return read_features(lake, [Artifact(f"{features.backbone}_embeddings", key) for key in shards], features.column)


def _taxonomy(lake: Lake) -> Taxonomy:
    rows = lake.read(Artifact("class_map"), ["species_id", "genus", "family"]).to_pylist()
    return Taxonomy(*({row["species_id"]: row[rank] for row in rows} for rank in ("genus", "family")))


def _publish(lake: Lake, shard: Shard, classifier: LinearClassifier, figures: Mapping[str, Any]) -> None:
    record = record_metadata(shard.provenance, fingerprint_classifier(classifier), figures)
    with lake.publish(lake.path(shard.artifact)) as temporary:
        write_classifier(temporary, classifier, record)
        require_unchanged(lake, shard.provenance)
