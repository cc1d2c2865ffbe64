"""Calibration: one temperature, so that a share of p of the predictions with probability p is right."""

import math

import numpy as np
import torch

from plantclef_assets.models.linear import LinearClassifier

_WIDEST = math.log(1000)
"""Temperatures are searched between 1/1000 and 1000; ridge regression on thousands of classes needs a small one."""
_BINS = 15


def fit_temperature(classifier: LinearClassifier, features: np.ndarray, species_id: np.ndarray) -> float:
    """Return the temperature with the least negative log-likelihood over rows that were not trained on.

    (Guo et al. 2017, arXiv 1706.04599, section 4.2.) log T has a standard normal prior, which a hundred rows outweigh;
    without it a few rows that are all right would lead to a temperature near 0.

    Args:
        classifier: the classifier whose logits are divided by the temperature.
        features: float32 (n, D), n > 0.
        species_id: int64 (n,), all of them classes.

    Raises:
        ValueError: a species is no class.
    """
    from scipy.optimize import minimize_scalar

    labels = torch.from_numpy(np.searchsorted(classifier.species_ids, species_id))
    if not np.isin(species_id, classifier.species_ids).all():
        raise ValueError("a temperature can only be fitted to species of the classifier")

    def cost(log_temperature: float) -> float:
        total, start = 0.5 * log_temperature**2, 0
        for logits in classifier.logits(features):
            block = labels[start : start + len(logits)]
            sharpened = logits * math.exp(-log_temperature)
            total += torch.nn.functional.cross_entropy(sharpened, block, reduction="sum").item()
            start += len(logits)
        return total

    found = minimize_scalar(cost, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-3})
    return math.exp(float(found.x))


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the mean distance of confidence and accuracy over 15 bins of equal width, weighted by their rows.

    (Naeini et al. 2015; Guo et al. 2017, eq. 3.)

    Args:
        confidence: (n,), the probability of each prediction, n > 0.
        correct: boolean (n,).
    """
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
