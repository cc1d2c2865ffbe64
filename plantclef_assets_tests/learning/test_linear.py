import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from plantclef_assets.learning import linear
from plantclef_assets.learning.linear import LinearClassifier, TrainingConfig, fit_classifier

SPECIES = np.array([1355868, 1360145, 9000001])


def blobs(rows: int, seed: int = 0, spread: float = 1.0, width: int = 12):
    """Make three overlapping classes whose features have very different offsets and scales, one of them constant."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, rows)
    centres = np.random.default_rng(99).normal(size=(3, width))
    features = centres[label] + spread * random.normal(size=(rows, width))
    features = features * np.logspace(-2, 4, width) + np.linspace(-1000, 1000, width)
    features[:, 3] = 7.5
    return features.astype(np.float32), SPECIES[label]


def sides(rows: int, validation: int):
    held_out = np.arange(rows) >= rows - validation
    return ~held_out, held_out


def fit(features, species, train, validation, **options):
    return fit_classifier(features, species, train, validation, config=TrainingConfig(**options))


def probability_of(classifier: LinearClassifier, features: np.ndarray) -> np.ndarray:
    logits = (features.astype(np.float64) - classifier.mean) / classifier.scale @ classifier.weight.T
    return softmax(logits + classifier.bias, axis=1)


def test_it_learns_as_well_as_scikit_learn():
    features, species = blobs(800, spread=1.5)
    train, validation = sides(800, 400)
    classifier = fit(features, species, train, validation, learning_rate=0.01, epochs=30)
    standardised = (features - features[train].mean(0)) / np.where(features.std(0) > 1e-3, features[train].std(0), 1)
    referee = LogisticRegression(C=10.0, max_iter=300).fit(standardised[train], species[train])
    expected = referee.score(standardised[validation], species[validation])
    assert classifier.metrics["accuracy"] == pytest.approx(expected, abs=0.02)
    assert 0.7 < expected < 0.99


def test_features_are_standardised_by_the_training_rows_only():
    features, species = blobs(300)
    train, validation = sides(300, 100)
    classifier = fit(features, species, train, validation, epochs=1)
    assert classifier.mean == pytest.approx(features[train].astype(np.float64).mean(0), rel=1e-5, abs=1e-5)
    expected = features[train].astype(np.float64).std(0)
    expected[3] = 1.0
    assert classifier.scale == pytest.approx(expected, rel=1e-4)


def test_the_best_epoch_is_kept_not_the_last():
    features, species = blobs(60, spread=4.0, width=40)
    train, validation = sides(60, 30)
    seen = []
    classifier = fit_classifier(
        features,
        species,
        train,
        validation,
        config=TrainingConfig(epochs=60, patience=60, learning_rate=0.05),
        progress=lambda *epoch: seen.append(epoch),
    )
    metrics = classifier.metrics
    assert [epoch for epoch, _, _ in seen] == list(range(1, 61))
    assert metrics["validation_losses"] == [loss for _, _, loss in seen]
    assert metrics["train_losses"] == [loss for _, loss, _ in seen]
    best = min(metrics["validation_losses"])
    assert metrics["best_epoch"] == metrics["validation_losses"].index(best) + 1 < metrics["epochs"] == 60
    assert metrics["validation_losses"][-1] > best + 0.01
    label = np.searchsorted(SPECIES, species[validation])
    probability = probability_of(classifier, features[validation])[np.arange(30), label]
    assert -np.log(probability).mean() == pytest.approx(best, rel=1e-4)


def test_it_stops_when_patience_ends():
    features, species = blobs(60, spread=4.0, width=40)
    metrics = fit(features, species, *sides(60, 30), epochs=60, patience=4, learning_rate=0.05).metrics
    assert metrics["epochs"] == metrics["best_epoch"] + 4 < 60


def test_equal_arguments_give_equal_weights_and_another_seed_others():
    features, species = blobs(200)
    train, validation = sides(200, 50)
    first, second = (fit(features, species, train, validation, epochs=5) for _ in range(2))
    other = fit(features, species, train, validation, epochs=5, seed=1)
    assert np.array_equal(first.weight, second.weight)
    assert first.metrics == second.metrics
    assert not np.array_equal(first.weight, other.weight)


def test_weight_decay_shrinks_the_weights():
    features, species = blobs(200)
    free, decayed = (fit(features, species, *sides(200, 50), weight_decay=decay) for decay in (0.0, 0.1))
    assert np.abs(decayed.weight).sum() < 0.7 * np.abs(free.weight).sum()


def test_only_species_with_training_rows_are_classes():
    features, species = blobs(300)
    train, validation = sides(300, 100)
    train &= species != SPECIES[1]
    classifier = fit(features, species, train, validation)
    assert classifier.species_ids.tolist() == [SPECIES[0], SPECIES[2]]
    assert set(classifier.top_k(features, 3)[0].ravel()) == {SPECIES[0], SPECIES[2]}
    unlearnt = int((species[validation] == SPECIES[1]).sum())
    metrics = classifier.metrics
    assert (metrics["classes"], metrics["validation_rows_without_class"]) == (2, unlearnt)
    assert metrics["validation_rows"] == 100
    assert metrics["accuracy"] <= 1 - unlearnt / 100
    assert metrics["accuracy_top5"] == 1 - unlearnt / 100


def test_the_majority_rate_is_what_guessing_reaches():
    features, species = blobs(300)
    train, validation = sides(300, 100)
    train &= ~((species == SPECIES[0]) & (np.arange(300) > 20))
    train &= ~((species == SPECIES[1]) & (np.arange(300) > 40))
    metrics = fit(features, species, train, validation, epochs=1).metrics
    assert metrics["majority_rate"] == (species[validation] == SPECIES[2]).mean()
    assert metrics["train_rows"] == train.sum()


def test_probabilities_and_the_best_agree_with_float64_over_blocks(monkeypatch):
    features, species = blobs(100)
    classifier = fit(features, species, *sides(100, 30), epochs=3)
    expected = probability_of(classifier, features)
    whole = classifier.probabilities(features)
    monkeypatch.setattr(linear, "_BLOCK", 7)
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


def test_the_features_given_are_left_alone():
    features, species = blobs(60)
    before = features.copy()
    features.flags.writeable = False  # as arrays from Arrow are
    classifier = fit(features, species, *sides(60, 20), epochs=2)
    classifier.probabilities(features)
    assert np.array_equal(features, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, s, t, v: (f[:-1], s, t, v), "do not describe the same rows"),
        (lambda f, s, t, v: (f, s, t, t), "20 rows are both"),
        (lambda f, s, t, v: (f, s, t & False, v), "0 training and 10 validation"),
        (lambda f, s, t, v: (f, s, t, v & False), "20 training and 0 validation"),
        (lambda f, s, t, v: (f, np.where(v, 1, s), t, v), "no validation row is of a species"),
        (lambda f, s, t, v: (f * np.nan, s, t, v), "diverged"),
    ],
)
def test_impossible_rows_are_refused(change, message):
    features, species = blobs(30)
    with pytest.raises(ValueError, match=message):
        fit(*change(features, species, *sides(30, 10)), epochs=2)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "patience"])
def test_impossible_training_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be positive"):
        TrainingConfig(**{name: 0})


def test_wrong_features_are_refused():
    features, species = blobs(30)
    classifier = fit(features, species, *sides(30, 10), epochs=1)
    with pytest.raises(ValueError, match="trained on width 12"):
        classifier.probabilities(features[:, :5])
    with pytest.raises(ValueError, match="at least one"):
        classifier.top_k(features, 0)
