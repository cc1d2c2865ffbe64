"""The losses that a classifier may learn by: logits and labels in, one number for each row out."""

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""float32 (n, classes), int64 (n,) → float32 (n,)."""

_GAMMA_NEGATIVE = 4
_SMOOTHING = 0.1


def negative_log_likelihood(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute −log of the softmax at the label."""
    return functional.cross_entropy(logits, labels, reduction="none")


def asymmetric(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the asymmetric loss of single labels, with γ+ 0, γ− 4 and label smoothing 0.1 as in the reference.

    −Σ_c t_c w_c log p_c with p the softmax, t the label smoothed over all classes, w = 1 at the label and p_c^γ−
    elsewhere (Ridnik et al. 2021, arXiv 2009.14119, in its variant for one label a picture).
    """
    log_p = logits.log_softmax(dim=1)
    at_label = log_p.gather(1, labels[:, None]).squeeze(1)
    weighted = log_p * log_p.exp().pow(_GAMMA_NEGATIVE)
    elsewhere = weighted.sum(dim=1) - weighted.gather(1, labels[:, None]).squeeze(1)
    smoothed = _SMOOTHING / logits.shape[1]
    return -(1 - _SMOOTHING + smoothed) * at_label - smoothed * elsewhere


LOSSES: Mapping[str, Loss] = {"nll": negative_log_likelihood, "asymmetric": asymmetric}
"""The losses by the names that a configuration knows them by."""
