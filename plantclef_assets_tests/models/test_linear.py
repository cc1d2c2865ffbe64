import numpy as np
import pytest
from scipy.special import erf, softmax

from plantclef_assets.models import linear
from plantclef_assets.models.linear import LinearClassifier
from plantclef_assets_tests.models.blobs import SPECIES, blobs


def some_classifier(features: np.ndarray, hidden: int = 0) -> LinearClassifier:
    random, width = np.random.default_rng(5), features.shape[1]
    layer = {
        "hidden_weight": random.normal(size=(hidden, width)).astype(np.float32),
        "hidden_bias": random.normal(size=hidden).astype(np.float32),
    }
    return LinearClassifier(
        mean=features.mean(0),
        scale=np.maximum(features.std(0), 1e-3),
        weight=random.normal(size=(3, hidden or width)).astype(np.float32),
        bias=random.normal(size=3).astype(np.float32),
        species_ids=SPECIES,
        **(layer if hidden else {}),
    )


def probability_of(classifier: LinearClassifier, features: np.ndarray) -> np.ndarray:
    inputs = (features.astype(np.float64) - classifier.mean) / classifier.scale
    if classifier.hidden_weight is not None:
        before = inputs @ classifier.hidden_weight.T + classifier.hidden_bias
        inputs = before * (1 + erf(before / np.sqrt(2))) / 2
    return softmax(inputs @ classifier.weight.T + classifier.bias, axis=1)


def test_probabilities_and_the_best_agree_with_float64_over_blocks(monkeypatch):
    features, _ = blobs(100)
    classifier = some_classifier(features)
    expected = probability_of(classifier, features)
    whole = classifier.probabilities(features)
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 7)
    for probabilities in (whole, classifier.probabilities(features)):
        assert probabilities.dtype == np.float32
        assert probabilities == pytest.approx(expected, abs=1e-5)
    species_ids, best = classifier.top_k(features, 2)
    assert species_ids.dtype == np.int64
    assert np.array_equal(species_ids, SPECIES[np.argsort(-expected, axis=1)[:, :2]])
    assert np.all(best[:, 0] >= best[:, 1])
    assert best == pytest.approx(-np.sort(-expected, axis=1)[:, :2], abs=1e-5)


def test_equal_probabilities_are_ordered_by_species():
    classes = 50
    classifier = LinearClassifier(
        mean=np.zeros(2, np.float32),
        scale=np.ones(2, np.float32),
        weight=np.zeros((classes, 2), np.float32),
        bias=np.where(np.arange(classes) % 5 == 2, 1.0, 0.0).astype(np.float32),
        species_ids=np.arange(1000, 1000 + classes),
    )
    species_ids, _ = classifier.top_k(np.ones((2, 2), np.float32), 13)
    assert species_ids.tolist() == [[1002, 1007, 1012, 1017, 1022, 1027, 1032, 1037, 1042, 1047, 1000, 1001, 1003]] * 2
    assert classifier.top_k(np.ones((1, 2), np.float32), 99)[0].shape == (1, classes)
    assert classifier.top_k(np.ones((0, 2), np.float32), 3)[0].shape == (0, 3)


def test_a_hidden_layer_comes_before_the_softmax():
    features, _ = blobs(50)
    classifier = some_classifier(features, hidden=8)
    assert classifier.probabilities(features) == pytest.approx(probability_of(classifier, features), abs=1e-5)
    assert [*classifier.arrays][-2:] == ["hidden_weight", "hidden_bias"]


def test_a_temperature_divides_the_logits():
    features, _ = blobs(50)
    for hidden in (0, 8):
        classifier = some_classifier(features, hidden)
        whole = np.concatenate([*classifier.logits(features)])
        halved = np.concatenate([*classifier.with_temperature(2.0).logits(features)])
        assert halved == pytest.approx(whole / 2, rel=1e-5)


def test_a_block_of_logits_is_small_however_many_classes_there_are():
    assert linear.block_rows(3) == 4096
    assert linear.block_rows(7_806) * 7_806 * 4 <= 2**24
    assert linear.block_rows(2**30) == 1


def test_wrong_features_are_refused():
    features, _ = blobs(30)
    classifier = some_classifier(features)
    with pytest.raises(ValueError, match="trained on width 12"):
        classifier.probabilities(features[:, :5])
    with pytest.raises(ValueError, match="at least 1"):
        classifier.top_k(features, 0)
