import numpy as np
import pytest

from plantclef_assets.models.calibration import expected_calibration_error, fit_temperature
from plantclef_assets.models.linear import LinearClassifier

SPECIES = np.array([10, 20, 30])


def identity(scale: float = 1.0) -> LinearClassifier:
    """Make a classifier whose logits are its features, times a factor."""
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    return LinearClassifier(zeros, ones, np.eye(3, dtype=np.float32) * np.float32(scale), zeros, SPECIES)


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits, and species by the probabilities that they stand for."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(rows, 3)).astype(np.float32)
    return logits, SPECIES[(logits + random.gumbel(size=logits.shape)).argmax(axis=1)]


@pytest.mark.parametrize("temperature", [0.02, 1.0, 30.0])
def test_the_temperature_that_was_applied_is_found(temperature):
    logits, species = drawn(20_000)
    assert fit_temperature(identity(temperature), logits, species) == pytest.approx(temperature, rel=0.05)


def test_a_handful_of_right_answers_is_no_reason_for_certainty():
    logits = np.eye(3, dtype=np.float32)
    assert 0.3 < fit_temperature(identity(), logits, SPECIES) < 1
    with pytest.raises(ValueError, match="species of the classifier"):
        fit_temperature(identity(), logits, SPECIES + 1)


def test_it_makes_confidence_agree_with_accuracy():
    logits, species = drawn(5000)
    held_out, truth = drawn(5000, seed=1)
    sharp = identity(4.0)

    def error(classifier: LinearClassifier) -> float:
        best, probability = classifier.top_k(held_out, 1)
        return expected_calibration_error(probability[:, 0], best[:, 0] == truth)

    assert error(sharp) > 0.1
    assert error(sharp.with_temperature(fit_temperature(sharp, logits, species))) < 0.03


def test_the_expected_calibration_error_by_hand():
    confidence = np.array([0.95, 0.96, 0.97, 0.5, 0.52, 1.0])
    correct = np.array([True, True, False, True, False, True])
    top, middle = abs(0.95 + 0.96 + 0.97 + 1.0 - 3), abs(0.5 + 0.52 - 1)  # bins of 1/15: from 0.933, and 0.467 to 0.533
    assert expected_calibration_error(confidence, correct) == pytest.approx((top + middle) / 6)
