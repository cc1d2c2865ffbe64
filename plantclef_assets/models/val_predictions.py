"""The predictions of a classifier for the photographs that validate it, as a table of the lake."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.schemas import VAL_PREDICTIONS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets.models.feature_sets import feature_set

BEST = 5
"""Number of species per photograph."""


@dataclass(frozen=True)
class ValPredictions:
    """Writer of the predictions of one classifier, shard by shard of its embeddings.

    Attributes:
        lake: the lake.
        shards: keys of the training shards.
        validation_share: share of the photographs that validate, if they have no learn_tag.
        seed: seed of that split.
    """

    lake: Lake
    shards: Sequence[str]
    validation_share: float
    seed: int

    def __call__(self, shard: Shard) -> None:
        """Write the table of one classifier."""
        features = feature_set(shard.artifact.partition or "")
        path = self.lake.path(Artifact("classifier", features.name, "safetensors"))
        classifier = read_classifier(self.lake.local(path))
        artifacts = [Artifact(f"{features.backbone}_embeddings", key) for key in self.shards]
        validates = self._validates(artifacts)
        with write_table(self.lake, shard.artifact, VAL_PREDICTIONS, shard.provenance) as table:
            start = 0
            for artifact in artifacts:
                rows = self.lake.read(artifact, ["image_name", "species_id", features.column])
                chosen = rows.filter(validates[start : start + rows.num_rows])
                start += rows.num_rows
                if not chosen.num_rows:
                    continue
                vectors = chosen.column(features.column).combine_chunks().flatten().to_numpy()
                best, probability = classifier.top_k(vectors.reshape(chosen.num_rows, -1), BEST)
                table.write_rows(
                    feature_set=[features.name] * chosen.num_rows,
                    image_name=chosen.column("image_name"),
                    species_id=chosen.column("species_id"),
                    species_ids=best.tolist(),
                    probabilities=probability.tolist(),
                )
            table.statistics = {"rows_in": int(validates.sum()), "quarantined": 0}

    def _validates(self, artifacts: Sequence[Artifact]) -> np.ndarray:
        """Return which rows of all shards validate, boolean (n,)."""
        tags: list[str | None] = []
        observations: list[str | None] = []
        for artifact in artifacts:
            rows = self.lake.read(artifact, ["learn_tag", "obs_id"])
            tags += rows.column("learn_tag").to_pylist()
            observations += rows.column("obs_id").to_pylist()
        return split_rows(tags, observations, validation_share=self.validation_share, seed=self.seed)[1]
