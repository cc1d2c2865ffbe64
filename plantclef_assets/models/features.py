"""Feature matrices: the embeddings of many shards as one array, with the labels of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plantclef_assets.lake.store import Artifact, Lake


@dataclass(frozen=True)
class FeatureMatrix:
    """The features of n photographs.

    Attributes:
        features: float32 (n, D).
        species_id: int64 (n,).
        obs_id: n observations, None if unknown.
        learn_tag: n tags, None if unknown.
    """

    features: np.ndarray
    species_id: np.ndarray
    obs_id: list[str | None]
    learn_tag: list[str | None]


def read_features(lake: Lake, artifacts: Sequence[Artifact], column: str) -> FeatureMatrix:
    """Return one vector column of many shards, in their order, as one array that is allocated once.

    Raises:
        MissingArtifactError: a shard is not in the lake.
    """
    files = [lake.open(artifact) for artifact in artifacts]
    width = files[0].schema_arrow.field(column).type.list_size
    features = np.empty((sum(file.metadata.num_rows for file in files), width), np.float32)
    species: list[np.ndarray] = []
    observations: list[str | None] = []
    tags: list[str | None] = []
    row = 0
    for file in files:
        for batch in file.iter_batches(columns=[column, "species_id", "obs_id", "learn_tag"]):
            features[row : row + batch.num_rows] = np.asarray(batch.column(column).flatten()).reshape(-1, width)
            row += batch.num_rows
            species.append(np.asarray(batch.column("species_id"), np.int64))
            observations += batch.column("obs_id").to_pylist()
            tags += batch.column("learn_tag").to_pylist()
    labels = np.concatenate(species) if species else np.empty(0, np.int64)
    return FeatureMatrix(features, labels, observations, tags)
