"""The predictions for validation photographs, as a table."""

import numpy as np

from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets.models.features import read_features


def test_they_are_those_of_the_classifier_for_the_photographs_that_validate_it(tiny_lake):
    lake = Lake(tiny_lake.lake)
    rows = lake.read(Artifact("val_predictions", "base_cls")).to_pylist()
    shards = [Artifact("base_embeddings", key) for key in shard_keys(tiny_lake.training_shards)]
    matrix = read_features(lake, shards, "cls")
    share = tiny_lake.classifier.validation_share
    _, validates = split_rows(matrix.learn_tag, matrix.obs_id, validation_share=share, seed=tiny_lake.seed)
    classifier = read_classifier(lake.local(lake.path(Artifact("classifier", "base_cls", "safetensors"))))
    best, probability = classifier.top_k(matrix.features[validates], 5)
    assert [row["species_id"] for row in rows] == matrix.species_id[validates].tolist()
    assert [row["species_ids"] for row in rows] == best.tolist()
    np.testing.assert_allclose([row["probabilities"] for row in rows], probability, rtol=1e-6)
    correct = np.mean([row["species_ids"][0] == row["species_id"] for row in rows])
    assert correct == classifier.metrics["accuracy"]
