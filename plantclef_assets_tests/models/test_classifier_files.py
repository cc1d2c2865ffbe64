from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from plantclef_assets.models.classifier_files import (
    read_classifier,
    read_classifier_metadata,
    write_classifier,
)
from plantclef_assets.models.linear import LinearClassifier

CLASSIFIER = LinearClassifier(
    mean=np.array([1.0, 2.0], np.float32),
    scale=np.array([3.0, 1.0], np.float32),
    weight=np.arange(6, dtype=np.float32).reshape(3, 2).T.copy().T,
    bias=np.array([0.5, -0.5, 0.0], np.float32),
    species_ids=np.array([7, 8, 1396710]),
    metrics={"accuracy": 0.9471, "epochs": 12, "validation_losses": [1.5, 0.25]},
)
METADATA = {"feature_set": "base_cls", "provenance": '{"weights": "ab"}', "z": "é", "a": "1", "m": "2"}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "base_cls.safetensors"
    write_classifier(path, CLASSIFIER, METADATA)
    read = read_classifier(path)
    for name in ("mean", "scale", "weight", "bias", "species_ids"):
        ours, theirs = getattr(read, name), getattr(CLASSIFIER, name)
        assert np.array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert read.metrics == CLASSIFIER.metrics
    assert read_classifier_metadata(path) == METADATA


def test_a_hidden_layer_is_kept(tmp_path):
    path = tmp_path / "two_layers.safetensors"
    layer = {"hidden_weight": np.ones((2, 2), np.float32), "hidden_bias": np.array([0.5, 2.0], np.float32)}
    classifier = replace(CLASSIFIER, **layer)
    write_classifier(path, classifier, METADATA)
    read = read_classifier(path)
    assert np.array_equal(read.arrays["hidden_bias"], layer["hidden_bias"])
    features = np.eye(2, dtype=np.float32)
    assert np.array_equal(read.probabilities(features), classifier.probabilities(features))
    assert not np.array_equal(read.probabilities(features), CLASSIFIER.probabilities(features))


def test_equal_classifiers_give_equal_bytes(tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(6)]
    for path in paths:
        write_classifier(path, CLASSIFIER, METADATA)
    assert len({path.read_bytes() for path in paths}) == 1


def test_what_is_no_classifier_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no classifier at .*absent"):
        read_classifier(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0")
    with pytest.raises(ValueError, match=r"no classifier at .*cut"):
        read_classifier_metadata(tmp_path / "cut.safetensors")
    save_file({"a": np.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not describe a classifier"):
        read_classifier(tmp_path / "other.safetensors")
