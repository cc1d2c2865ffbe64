import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from plantclef_assets.ingest.validation_split import Sides
from plantclef_assets.models.fitting import fit_classifier, resident_bytes
from plantclef_assets.models.linear import LinearClassifier
from plantclef_assets.models.training_config import TrainingConfig
from plantclef_assets_tests.models.blobs import SPECIES, blobs


def sides(rows: int, validation: int):
    held_out = np.arange(rows) >= rows - validation
    return ~held_out, held_out


def three_sides(rows: int, holdout: int, validation: int) -> Sides:
    number = np.arange(rows)
    return Sides(
        number < rows - holdout - validation,
        (number >= rows - holdout - validation) & (number < rows - validation),
        number >= rows - validation,
    )


def fit(features, species, train, validation, *, progress=None, **options):
    """Fit with nothing set aside, so that the validation rows decide."""
    nobody = np.zeros_like(train)
    config = TrainingConfig(**options)
    return fit_classifier(features, species, Sides(train, nobody, validation), config=config, progress=progress)


def probability_of(classifier: LinearClassifier, features: np.ndarray) -> np.ndarray:
    logits = (features.astype(np.float64) - classifier.mean) / classifier.scale @ classifier.weight.T
    return softmax(logits + classifier.bias, axis=1)


def test_it_learns_as_well_as_scikit_learn():
    features, species = blobs(800, spread=1.5)
    train, validation = sides(800, 400)
    classifier = fit(features, species, train, validation, learning_rates=(0.01,), epochs=30)
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
    options = {"epochs": 60, "patience": 60, "learning_rates": (0.05,)}
    progress = lambda *epoch: seen.append(epoch)  # noqa: E731
    classifier = fit(features, species, train, validation, progress=progress, **options)
    metrics = classifier.metrics
    assert [epoch for epoch, _, _ in seen] == list(range(1, 61))
    assert metrics["stopping_losses"] == [loss for _, _, loss in seen]
    assert metrics["train_losses"] == [loss for _, loss, _ in seen]
    best = min(metrics["stopping_losses"])
    assert metrics["best_epoch"] == metrics["stopping_losses"].index(best) + 1 < metrics["epochs"] == 60
    assert metrics["stopping_losses"][-1] > best + 0.01
    label = np.searchsorted(SPECIES, species[validation])
    probability = probability_of(classifier, features[validation])[np.arange(30), label]
    assert -np.log(probability).mean() == pytest.approx(best, rel=1e-4)


def test_it_stops_when_patience_ends():
    features, species = blobs(60, spread=4.0, width=40)
    metrics = fit(features, species, *sides(60, 30), epochs=60, patience=4, learning_rates=(0.05,)).metrics
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
        (lambda f, s, t, v: (f[:-1], s, t, v), "have different numbers of rows"),
        (lambda f, s, t, v: (f, s, t, t), "20 rows are on more than one side"),
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


def test_the_rows_set_aside_decide_and_the_validation_rows_only_report():
    features, species = blobs(300, spread=4.0, width=40)
    whole = three_sides(300, 60, 60)
    first = fit_classifier(features, species, whole, config=TrainingConfig(epochs=20))
    shuffled = species.copy()
    shuffled[whole.validation] = np.roll(species[whole.validation], 1)
    second = fit_classifier(features, shuffled, whole, config=TrainingConfig(epochs=20))
    assert np.array_equal(first.weight, second.weight)
    assert first.metrics["stopping_losses"] == second.metrics["stopping_losses"]
    assert first.metrics["accuracy"] != second.metrics["accuracy"]
    assert (first.metrics["decided_by"], first.metrics["calibration"]) == ("holdout", "fitted")
    other = species.copy()
    other[whole.holdout] = np.roll(species[whole.holdout], 1)
    assert (
        fit_classifier(features, other, whole, config=TrainingConfig(epochs=20)).metrics["stopping_losses"]
        != (first.metrics["stopping_losses"])
    )


def test_where_nothing_is_set_aside_the_validation_rows_decide_and_nothing_is_calibrated():
    features, species = blobs(100)
    metrics = fit(features, species, *sides(100, 40), epochs=2).metrics
    assert (metrics["decided_by"], metrics["calibration"]) == ("val", "impossible")
    assert "temperature" not in metrics
    assert fit(features, species, *sides(100, 40), epochs=2, calibrate=False).metrics["calibration"] == "off"


def test_the_temperature_is_folded_into_the_layer():
    features, species = blobs(400, spread=2.0)
    whole = three_sides(400, 100, 100)
    options = {"start": "ridge", "epochs": 0}
    plain = fit_classifier(features, species, whole, config=TrainingConfig(**options, calibrate=False))
    sharp = fit_classifier(features, species, whole, config=TrainingConfig(**options))
    temperature = sharp.metrics["temperature"]
    assert sharp.weight == pytest.approx(plain.weight / temperature, rel=1e-5)
    assert sharp.bias == pytest.approx(plain.bias / temperature, rel=1e-5)
    assert sharp.metrics["ece_uncalibrated"] == plain.metrics["ece"]
    assert sharp.metrics["ece"] < plain.metrics["ece"] - 0.1, "ridge scores are no logits"
    assert sharp.metrics["accuracy"] == plain.metrics["accuracy"]


@pytest.mark.parametrize("start", ["centroids", "lda", "ridge"])
def test_a_closed_form_answers_alone(start):
    features, species = blobs(400, spread=1.5)
    classifier = fit_classifier(
        features, species, three_sides(400, 50, 150), config=TrainingConfig(start=start, epochs=0)
    )
    metrics = classifier.metrics
    assert metrics["accuracy"] > metrics["majority_rate"] + 0.3
    assert (metrics["epochs"], metrics["best_epoch"]) == (0, 0)
    assert "train_losses" not in metrics


def test_training_goes_on_from_a_closed_form_and_keeps_it_where_nothing_is_better():
    features, species = blobs(300, spread=2.0)
    whole = three_sides(300, 80, 80)
    closed = fit_classifier(features, species, whole, config=TrainingConfig(start="lda", epochs=0))
    trained = fit_classifier(features, species, whole, config=TrainingConfig(start="lda", epochs=5))
    kept = fit_classifier(
        features, species, whole, config=TrainingConfig(start="lda", epochs=3, learning_rates=(10.0,))
    )
    assert trained.metrics["stopping_losses"][0] == pytest.approx(trained.metrics["start_loss"], abs=0.1)
    assert kept.metrics["best_epoch"] == 0
    assert kept.weight == pytest.approx(closed.weight, rel=0.02)


def test_the_best_of_several_learning_rates_is_kept():
    features, species = blobs(300, spread=2.0)
    whole = three_sides(300, 80, 80)
    rates = (1e-6, 0.01, 50.0)
    metrics = fit_classifier(features, species, whole, config=TrainingConfig(learning_rates=rates, epochs=15)).metrics
    assert metrics["learning_rate"] == 0.01
    assert metrics["best_losses"]["0.01"] == min(metrics["best_losses"].values()) == min(metrics["stopping_losses"])
    alone = fit_classifier(features, species, whole, config=TrainingConfig(learning_rates=(0.01,), epochs=15)).metrics
    assert metrics["stopping_losses"][:5] == pytest.approx(alone["stopping_losses"][:5], rel=1e-4)


def test_a_rate_that_diverges_leaves_the_others_alone():
    features, species = blobs(200)
    whole = three_sides(200, 50, 50)
    metrics = fit_classifier(
        features, species, whole, config=TrainingConfig(learning_rates=(float("inf"), 0.01), epochs=3)
    ).metrics
    assert metrics["learning_rate"] == 0.01
    assert metrics["accuracy"] > 0.7


def test_a_hidden_layer_learns_what_no_line_divides():
    random = np.random.default_rng(3)
    features = random.normal(size=(900, 2)).astype(np.float32)
    species = SPECIES[(features[:, 0] * features[:, 1] > 0).astype(int)]
    whole = three_sides(900, 150, 250)
    options = {"learning_rates": (0.01,), "epochs": 30}
    linear = fit_classifier(features, species, whole, config=TrainingConfig(**options))
    first, second = (
        fit_classifier(features, species, whole, config=TrainingConfig(hidden=16, **options)) for _ in range(2)
    )
    assert linear.metrics["accuracy"] < 0.65
    assert first.metrics["accuracy"] > 0.9
    assert first.arrays["hidden_weight"].shape == (16, 2)
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name]), name


def test_the_adjustment_lets_rare_species_be_named():
    features, species = blobs(1500, spread=3.0)
    whole = three_sides(1500, 150, 500)
    rare = np.flatnonzero(whole.train & (species == SPECIES[0]))[40:]
    whole.learn[rare] = whole.holdout[rare] = False

    def recall(adjustment: float) -> float:
        config = TrainingConfig(logit_adjustment=adjustment, epochs=15, calibrate=False)
        classifier = fit_classifier(features, species, whole, config=config)
        rows = whole.validation & (species == SPECIES[0])
        return float((classifier.top_k(features[rows], 1)[0] == SPECIES[0]).mean())

    assert recall(1.0) > recall(0.0) + 0.1


def test_species_with_too_few_images_are_no_class():
    features, species = blobs(300)
    whole = three_sides(300, 50, 100)
    rare = np.flatnonzero(whole.train & (species == SPECIES[1]))[9:]
    whole.learn[rare] = whole.holdout[rare] = False
    classifier = fit_classifier(features, species, whole, config=TrainingConfig(min_images=10, epochs=2))
    assert classifier.species_ids.tolist() == [SPECIES[0], SPECIES[2]]
    metrics = classifier.metrics
    assert (metrics["species_without_class"], metrics["first_without_class"]) == (1, [SPECIES[1]])
    assert metrics["validation_rows_without_class"] == (species[whole.validation] == SPECIES[1]).sum()
    with pytest.raises(ValueError, match="no species has 500 training rows, the maximum is"):
        fit_classifier(features, species, whole, config=TrainingConfig(min_images=500, epochs=2))


MEMORY = """
import resource
import numpy as np, torch
from plantclef_assets.models.fitting import fit_classifier, resident_bytes
from plantclef_assets.ingest.validation_split import Sides
from plantclef_assets.models.training_config import TrainingConfig
torch.set_num_threads(1)
def run(rows, width, classes, **options):
    random = np.random.default_rng(0)
    features = random.standard_normal((rows, width), dtype=np.float32)
    species = np.arange(rows) % classes
    number = np.arange(rows)
    sides = Sides(number < rows * 0.8, (number >= rows * 0.8) & (number < rows * 0.9), number >= rows * 0.9)
    config = TrainingConfig(batch_size=1024, **options)
    fit_classifier(features, species, sides, config=config)
    return resident_bytes(rows, width, classes, config)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
options = dict(start="lda", epochs=1)
run(400, 64, 4, **options)
before = peak()
estimate = run(40_000, 64, 2_000, **options)
print(peak() - before, estimate)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is another elsewhere")
@pytest.mark.slow
def test_a_training_keeps_to_the_memory_that_was_estimated():
    # With the threshold fixed, large arrays go back to the system at once, and the peak is that of what is alive.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "1048576"}
    command = [sys.executable, "-c", MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    grown, estimate = (int(number) for number in done.stdout.split())
    assert grown < 1.25 * estimate
    assert grown < 0.6 * 40_000 * 2_000 * 4, "the logits of all rows at once would be far more"


def test_the_whole_of_plantclef_fits_one_accelerator():
    estimate = resident_bytes(1_400_000, 768, 7_806, TrainingConfig())
    assert estimate == pytest.approx(4.7e9, rel=0.02)
    several = TrainingConfig(learning_rates=(0.0005, 0.002, 0.008), start="lda")
    assert resident_bytes(1_400_000, 768, 7_806, several) < 8e9
