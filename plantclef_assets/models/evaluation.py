"""How good a classifier is on photographs that it never saw: the metrics, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plantclef_assets.models.calibration import expected_calibration_error
from plantclef_assets.models.linear import LinearClassifier

BANDS = {"head": 100, "middle": 20, "tail": 0}
"""Band of species → the least number of training photographs that they have; after the reference, whose classes have
100 at least."""
_BLOCK_ROWS = 16384


@dataclass(frozen=True)
class Taxonomy:
    """Genus and family of each species, None where unknown."""

    genus: Mapping[int, str | None]
    family: Mapping[int, str | None]


@dataclass(frozen=True)
class Answers:
    """What a classifier says of n photographs.

    Attributes:
        truth: int64 (n,), their species.
        best: int64 (n, k), the likeliest species, likeliest first.
        confidence: float32 (n,), the probability of the first.
    """

    truth: np.ndarray
    best: np.ndarray
    confidence: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the first is right, boolean (n,)."""
        return self.best[:, 0] == self.truth


def ask(classifier: LinearClassifier, features: np.ndarray, species_id: np.ndarray, rows: np.ndarray) -> Answers:
    """Let a classifier answer some rows, a block at a time, so that they are never copied as a whole."""
    blocks = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
    answers = [classifier.top_k(features[block], 5) for block in blocks]
    best = np.concatenate([species for species, _ in answers])
    return Answers(species_id[rows], best, np.concatenate([probability[:, 0] for _, probability in answers]))


def judge(answers: Answers, trained_on: np.ndarray, taxonomy: Taxonomy) -> dict[str, Any]:
    """Compute the metrics of a classifier.

    Args:
        answers: to photographs that it did not learn from, one at least.
        trained_on: int64 (m,), the species of all training photographs, with those set aside.
        taxonomy: what is known of its species.

    Returns:
        `accuracy` (top 1), `accuracy_top5`, `macro_f1` (mean F1 of the species in truth or answers), `ece`
        (expected calibration error), `majority_rate` (accuracy of always saying the commonest training species),
        `validation_rows`; `accuracy_<band>` and `validation_rows_<band>` for each band of species that has photographs,
        and, where there are errors whose taxa are known, `errors_in_genus` and `errors_in_family`, the share of them
        that name a species of the true one's genus or family.
    """
    species, counts = np.unique(trained_on, return_counts=True)
    commonest = answers.truth == species[counts.argmax()] if len(species) else np.zeros(1)
    return {
        "accuracy": float(answers.correct.mean()),
        "accuracy_top5": float((answers.best == answers.truth[:, None]).any(axis=1).mean()),
        "macro_f1": macro_f1(answers),
        "ece": expected_calibration_error(answers.confidence, answers.correct),
        "majority_rate": float(commonest.mean()),
        "validation_rows": len(answers.truth),
        **_accuracy_by_band(answers, dict(zip(species.tolist(), counts.tolist(), strict=True))),
        **_errors_within(answers, taxonomy),
    }


def macro_f1(answers: Answers) -> float:
    """Compute the F1 of each species in truth or first answers, and their mean."""
    first = answers.best[:, 0]
    species, places = np.unique(np.concatenate([answers.truth, first]), return_inverse=True)
    truth, said = places[: len(first)], places[len(first) :]
    hits = np.bincount(truth[truth == said], minlength=len(species))
    named = np.bincount(truth, minlength=len(species)) + np.bincount(said, minlength=len(species))
    return float((2 * hits / named).mean())


def _accuracy_by_band(answers: Answers, training_rows: Mapping[int, int]) -> dict[str, float]:
    counts = np.array([training_rows.get(species, 0) for species in answers.truth.tolist()])
    metrics: dict[str, float] = {}
    above = np.inf
    for band, least in BANDS.items():
        rows = (counts >= least) & (counts < above)
        above = least
        if rows.any():
            metrics[f"accuracy_{band}"] = float(answers.correct[rows].mean())
            metrics[f"validation_rows_{band}"] = int(rows.sum())
    return metrics


def _errors_within(answers: Answers, taxonomy: Taxonomy) -> dict[str, float]:
    wrong = ~answers.correct
    errors = list(zip(answers.truth[wrong].tolist(), answers.best[wrong, 0].tolist(), strict=True))
    metrics = {}
    for rank, taxa in (("genus", taxonomy.genus), ("family", taxonomy.family)):
        pairs = [(taxa.get(truth), taxa.get(said)) for truth, said in errors]
        known = [truth == said for truth, said in pairs if truth and said]
        if known:
            metrics[f"errors_in_{rank}"] = sum(known) / len(known)
    return metrics
