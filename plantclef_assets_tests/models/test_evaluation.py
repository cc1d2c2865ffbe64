import numpy as np
import pytest
from sklearn.metrics import f1_score

from plantclef_assets.models import evaluation as judging
from plantclef_assets.models.evaluation import Predictions, Taxonomy, evaluate, macro_f1, predict
from plantclef_assets.models.linear import LinearClassifier

GENUS = {1: "Salix", 2: "Salix", 3: "Populus", 4: None}
FAMILY = {1: "Salicaceae", 2: "Salicaceae", 3: "Salicaceae", 4: "Poaceae"}


def predictions(truth: list[int], first: list[int], second: list[int] | None = None) -> Predictions:
    best = np.column_stack([first, second or [0] * len(first)])
    return Predictions(np.array(truth), best, np.full(len(truth), 0.5, np.float32))


def test_macro_f1_is_that_of_scikit_learn():
    random = np.random.default_rng(2)
    truth, said = random.integers(0, 9, 200), random.integers(2, 12, 200)
    found = macro_f1(predictions(truth.tolist(), said.tolist()))
    assert found == pytest.approx(f1_score(truth, said, average="macro"))


def test_errors_are_told_by_how_near_they_are():
    some = predictions([1, 1, 1, 2, 4], [2, 3, 1, 4, 1])
    metrics = evaluate(some, np.array([1, 2, 3]), Taxonomy(GENUS, FAMILY))
    assert metrics["errors_in_genus"] == 1 / 2, "of two errors both genera are known"
    assert metrics["errors_in_family"] == 2 / 4
    right = evaluate(predictions([1], [1]), np.array([1]), Taxonomy(GENUS, FAMILY))
    assert "errors_in_genus" not in right


def test_accuracy_is_told_by_how_many_photographs_a_species_has():
    trained_on = np.repeat([1, 2, 3], [100, 99, 19])
    metrics = evaluate(predictions([1, 1, 2, 3, 4], [1, 2, 2, 3, 1]), trained_on, Taxonomy({}, {}))
    assert [metrics[f"accuracy_{band}"] for band in ("head", "middle", "tail")] == [0.5, 1.0, 0.5]
    assert [metrics[f"validation_rows_{band}"] for band in ("head", "middle", "tail")] == [2, 1, 2]
    assert metrics["majority_rate"] == 2 / 5
    only_common = evaluate(predictions([1], [1]), trained_on, Taxonomy({}, {}))
    assert "accuracy_tail" not in only_common


def test_the_best_five_count_as_such():
    metrics = evaluate(predictions([1, 2, 3], [1, 1, 1], [3, 2, 2]), np.array([1]), Taxonomy({}, {}))
    assert (metrics["accuracy"], metrics["accuracy_top5"]) == (1 / 3, 2 / 3)


def test_rows_are_asked_in_their_order_whatever_the_blocks(monkeypatch):
    width = np.zeros(3, np.float32), np.ones(3, np.float32)
    classifier = LinearClassifier(*width, np.eye(3, dtype=np.float32), width[0], np.array([1, 2, 3]))
    features = np.random.default_rng(4).normal(size=(20, 3)).astype(np.float32)
    species, rows = 1 + np.arange(20) % 3, np.array([17, 3, 4, 11, 0])
    whole = predict(classifier, features, species, rows)
    assert whole.truth.tolist() == species[rows].tolist()
    assert whole.best[:, 0].tolist() == (features[rows].argmax(axis=1) + 1).tolist()
    monkeypatch.setattr(judging, "_BLOCK_ROWS", 2)
    assert np.array_equal(predict(classifier, features, species, rows).best, whole.best)
