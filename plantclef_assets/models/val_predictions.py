"""The predictions of a classifier for the photographs that validate it, as a table of the lake."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.schemas import VAL_PREDICTIONS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.models.classifier_files import open_classifier
from plantclef_assets.models.feature_sets import feature_set

BEST = 5
"""Number of species per photograph."""


@dataclass(frozen=True)
class ValidationPhotographs:
    """The photographs that validate the classifiers, read shard by shard from their embeddings.

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

    def validates(self, name: str) -> np.ndarray:
        """Return which rows of all shards validate the classifier of that name, boolean (n,)."""
        tags: list[str | None] = []
        observations: list[str | None] = []
        for artifact in self._artifacts(name):
            rows = self.lake.read(artifact, ["learn_tag", "obs_id"])
            tags += rows.column("learn_tag").to_pylist()
            observations += rows.column("obs_id").to_pylist()
        return split_rows(tags, observations, validation_share=self.validation_share, seed=self.seed)[1]

    def batches(self, name: str, validates: np.ndarray) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Yield image_name and species_id of the rows that validate, with their features float32 (n, D)."""
        column, start = feature_set(name).column, 0
        for artifact in self._artifacts(name):
            rows = self.lake.read(artifact, ["image_name", "species_id", column])
            chosen = rows.filter(validates[start : start + rows.num_rows])
            start += rows.num_rows
            if chosen.num_rows:
                vectors = chosen.column(column).combine_chunks().flatten().to_numpy()
                yield chosen.drop_columns([column]), vectors.reshape(chosen.num_rows, -1)

    def _artifacts(self, name: str) -> list[Artifact]:
        return [Artifact(f"{feature_set(name).backbone}_embeddings", key) for key in self.shards]


@dataclass(frozen=True)
class ValPredictions:
    """Writer of the predictions of one classifier for the photographs that validate it."""

    lake: Lake
    photographs: ValidationPhotographs

    def __call__(self, shard: Shard) -> None:
        """Write the table of one classifier."""
        name = shard.artifact.partition or ""
        classifier, validates = open_classifier(self.lake, name), self.photographs.validates(name)
        with write_table(self.lake, shard.artifact, VAL_PREDICTIONS, shard.provenance) as table:
            for photographs, features in self.photographs.batches(name, validates):
                best, probability = classifier.top_k(features, BEST)
                table.write_rows(
                    feature_set=[name] * photographs.num_rows,
                    image_name=photographs.column("image_name"),
                    species_id=photographs.column("species_id"),
                    species_ids=best.tolist(),
                    probabilities=probability.tolist(),
                )
            table.statistics = {"rows_in": int(validates.sum()), "quarantined": 0}
