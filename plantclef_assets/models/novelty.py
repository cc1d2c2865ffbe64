"""Unknown scores: how unlike the species that a classifier was trained on a photograph or a tile looks.

What belongs here: scores as functions of logits, and their quantiles among validation photographs. A higher score means
that the species is more likely none of the classifier's. `python -m benchmarks.unknown` compares the scores by leaving
species out.
"""

from collections.abc import Callable

import numpy as np
import torch

from plantclef_assets.models.linear import LinearClassifier

Score = Callable[[torch.Tensor], torch.Tensor]
"""Logits float32 (n, classes) → scores (n,)."""


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Return the energy −log Σ exp(logit) (Liu et al. 2020, arXiv 2010.03759, eq. 4)."""
    return -logits.logsumexp(dim=1)


def max_logit(logits: torch.Tensor) -> torch.Tensor:
    """Return the negated largest logit (Hendrycks et al. 2022, arXiv 1911.11132)."""
    return -logits.amax(dim=1)


def max_probability(logits: torch.Tensor) -> torch.Tensor:
    """Return the negated probability of the likeliest species (Hendrycks and Gimpel 2017, arXiv 1610.02136)."""
    return -logits.softmax(dim=1).amax(dim=1)


SCORES: dict[str, Score] = {"max_logit": max_logit, "energy": energy, "max_probability": max_probability}
"""The scores that the benchmark compares, by name."""


def unknown_scores(classifier: LinearClassifier, features: np.ndarray, score: Score = max_logit) -> np.ndarray:
    """Return the scores of float32 (n, D): float32 (n,), computed block by block.

    Raises:
        ValueError: the features have another width than the training features.
    """
    blocks = [score(logits).numpy() for logits in classifier.logits(features)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def quantiles(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return for each score the share of the reference scores that are lower: float32 (n,) in [0, 1].

    Args:
        scores: (n,).
        reference: (m,), those of photographs of known species, ascending, at least one.
    """
    return (np.searchsorted(reference, scores) / len(reference)).astype(np.float32)
