"""Evaluation of classifiers on photographs that they were not trained on: predictions and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plantclef_assets.models.calibration import expected_calibration_error
from plantclef_assets.models.linear import LinearClassifier

BANDS = {"head": 100, "middle": 20, "tail": 0}
"""Band of species → the least number of their training photographs; the classes of the reference have at least 100."""
_BLOCK_ROWS = 16384


@dataclass(frozen=True)
class Taxonomy:
    """Genus and family of each species, None if unknown."""

    genus: Mapping[int, str | None]
    family: Mapping[int, str | None]


@dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier for n photographs.

    Attributes:
        truth: int64 (n,), the true species.
        best: int64 (n, k), the most probable species, in descending order.
        confidence: float32 (n,), the probability of the first.
    """

    truth: np.ndarray
    best: np.ndarray
    confidence: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the most probable species is the true one, boolean (n,)."""
        return self.best[:, 0] == self.truth


def predict(
    classifier: LinearClassifier, features: np.ndarray, species_id: np.ndarray, rows: np.ndarray
) -> Predictions:
    """Return the predictions for some rows, computed block by block, so that the rows are not copied as a whole."""
    blocks = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
    found = [classifier.top_k(features[block], 5) for block in blocks]
    best = np.concatenate([species for species, _ in found])
    return Predictions(species_id[rows], best, np.concatenate([probability[:, 0] for _, probability in found]))


def evaluate(predictions: Predictions, trained_on: np.ndarray, taxonomy: Taxonomy) -> dict[str, Any]:
    """Return the metrics of a classifier.

    Args:
        predictions: for at least one photograph that it was not trained on.
        trained_on: int64 (m,), the species of all training photographs, including held-out ones.
        taxonomy: genera and families of the species.

    Returns:
        `accuracy` (top 1), `accuracy_top5`, `macro_f1` (mean F1 of the true and the predicted species), `ece`
        (expected calibration error), `majority_rate` (accuracy of always predicting the most common training species),
        `validation_rows`; `accuracy_<band>` and `validation_rows_<band>` for each band with photographs; and, if there
        are errors with known taxa, `errors_in_genus` and `errors_in_family`, the share of errors within the true
        species' genus or family.
    """
    species, counts = np.unique(trained_on, return_counts=True)
    commonest = predictions.truth == species[counts.argmax()] if len(species) else np.zeros(1)
    return {
        "accuracy": float(predictions.correct.mean()),
        "accuracy_top5": float((predictions.best == predictions.truth[:, None]).any(axis=1).mean()),
        "macro_f1": macro_f1(predictions),
        "ece": expected_calibration_error(predictions.confidence, predictions.correct),
        "majority_rate": float(commonest.mean()),
        "validation_rows": len(predictions.truth),
        **_accuracy_by_band(predictions, dict(zip(species.tolist(), counts.tolist(), strict=True))),
        **_errors_within(predictions, taxonomy),
    }


def macro_f1(predictions: Predictions) -> float:
    """Return the mean F1 over the true species and the most probable ones."""
    first = predictions.best[:, 0]
    species, places = np.unique(np.concatenate([predictions.truth, first]), return_inverse=True)
    truth, predicted = places[: len(first)], places[len(first) :]
    hits = np.bincount(truth[truth == predicted], minlength=len(species))
    named = np.bincount(truth, minlength=len(species)) + np.bincount(predicted, minlength=len(species))
    return float((2 * hits / named).mean())


def _accuracy_by_band(predictions: Predictions, training_rows: Mapping[int, int]) -> dict[str, float]:
    counts = np.array([training_rows.get(species, 0) for species in predictions.truth.tolist()])
    metrics: dict[str, float] = {}
    above = np.inf
    for band, least in BANDS.items():
        rows = (counts >= least) & (counts < above)
        above = least
        if rows.any():
            metrics[f"accuracy_{band}"] = float(predictions.correct[rows].mean())
            metrics[f"validation_rows_{band}"] = int(rows.sum())
    return metrics


def _errors_within(predictions: Predictions, taxonomy: Taxonomy) -> dict[str, float]:
    wrong = ~predictions.correct
    errors = list(zip(predictions.truth[wrong].tolist(), predictions.best[wrong, 0].tolist(), strict=True))
    metrics = {}
    for rank, taxa in (("genus", taxonomy.genus), ("family", taxonomy.family)):
        pairs = [(taxa.get(truth), taxa.get(predicted)) for truth, predicted in errors]
        known = [truth == predicted for truth, predicted in pairs if truth and predicted]
        if known:
            metrics[f"errors_in_{rank}"] = sum(known) / len(known)
    return metrics
