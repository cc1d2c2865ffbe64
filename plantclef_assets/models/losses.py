"""The losses of classifiers: functions of logits and labels, with one value for each row.

A new loss is one function here, decorated with `@register_loss`; its name is the value of the setting `loss`. torch is
imported inside the functions, so that settings can be checked without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Loss = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""Logits float32 (n, classes), labels int64 (n,) → float32 (n,)."""

LOSSES: dict[str, Loss] = {}
"""The registered losses by name."""

_GAMMA_NEGATIVE = 4
_SMOOTHING = 0.1


def register_loss(loss: Loss) -> Loss:
    """Register a loss under the name of its function."""
    LOSSES[loss.__name__] = loss
    return loss


@register_loss
def nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood, −log of the softmax at the label."""
    from torch.nn import functional

    return functional.cross_entropy(logits, labels, reduction="none")


@register_loss
def asymmetric(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the asymmetric loss of single labels, with γ+ 0, γ− 4 and label smoothing 0.1 as in the reference.

    −Σ_c t_c w_c log p_c with p the softmax, t the label smoothed over all classes, w = 1 at the label and p_c^γ−
    elsewhere (Ridnik et al. 2021, arXiv 2009.14119, the variant with one label per image).
    """
    log_p = logits.log_softmax(dim=1)
    at_label = log_p.gather(1, labels[:, None]).squeeze(1)
    weighted = log_p * log_p.exp().pow(_GAMMA_NEGATIVE)
    elsewhere = weighted.sum(dim=1) - weighted.gather(1, labels[:, None]).squeeze(1)
    smoothed = _SMOOTHING / logits.shape[1]
    return -(1 - _SMOOTHING + smoothed) * at_label - smoothed * elsewhere
