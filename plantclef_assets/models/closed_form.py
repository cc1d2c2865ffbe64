"""Where a linear layer may begin: closed forms of class means and covariance, on standardised features.

All of them come from sums over the rows, which are taken a block at a time in float64: D × D and classes × D numbers,
whatever the rows. Each is a layer of its own that answers without an epoch of training, also for a species with
a single photograph.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from plantclef_assets.models.scaling import StandardisedRows
from plantclef_assets.models.training_config import TrainingConfig

Layer = tuple[torch.Tensor, torch.Tensor]
"""Weight (classes, D) and bias (classes,), for standardised features."""


@dataclass(frozen=True)
class ClassStatistics:
    """Sums over rows of C classes, as means.

    Attributes:
        share: float64 (C,), share of the rows that is of the class.
        means: float64 (C, D), its mean.
        second: float64 (D, D), mean of x·xᵀ over all rows.
    """

    share: torch.Tensor
    means: torch.Tensor
    second: torch.Tensor


def class_statistics(inputs: StandardisedRows, rows: torch.Tensor, labels: torch.Tensor) -> ClassStatistics:
    """Sum up the rows: int64 (n,) with labels int64 (n,) from 0, every class with a row."""
    # Apple's devices have no float64.
    device = torch.device("cpu") if inputs.device.type == "mps" else inputs.device
    width, counts = inputs.features.shape[1], labels.bincount().to(device)
    sums = torch.zeros(len(counts), width, dtype=torch.float64, device=device)
    second = torch.zeros(width, width, dtype=torch.float64, device=device)
    for block, block_labels in inputs.blocks(rows, labels):
        exact = block.to(device).double()
        sums.index_add_(0, block_labels.to(device), exact)
        second.addmm_(exact.T, exact)
    return ClassStatistics(counts / len(rows), sums / counts[:, None], second / len(rows))


def centroids(statistics: ClassStatistics, config: TrainingConfig) -> Layer:
    """Give the layer of the most similar centroid: the cosine of a photograph and the mean of a species.

    The logit is the photograph's projection on the unit vector of the mean. The photograph's own length, which does
    not change the order, is left in: one that is like nothing has small logits everywhere.
    """
    weight = torch.nn.functional.normalize(statistics.means, dim=1)
    return weight, weight.new_zeros(len(weight))


def lda(statistics: ClassStatistics, config: TrainingConfig) -> Layer:
    """Give the layer of linear discriminant analysis: Gaussians of one covariance Σ around the means m.

    w = Σ⁻¹m, b = −½ mᵀΣ⁻¹m + (1 − τ) log share (Hastie, Tibshirani, Friedman 2009, eq. 4.10), with Σ the
    pooled covariance within classes, shrunk: (1 − α) Σ + α tr(Σ)/D · I.
    """
    between = statistics.means.T @ (statistics.means * statistics.share[:, None])
    within = _shrunk(statistics.second - between, config.shrinkage)
    weight = torch.linalg.solve(within, statistics.means.T).T
    prior = (1 - config.logit_adjustment) * statistics.share.log()
    return weight, prior - (weight * statistics.means).sum(dim=1) / 2


def ridge(statistics: ClassStatistics, config: TrainingConfig) -> Layer:
    """Give the layer of ridge regression on one-hot targets, with a free intercept.

    W = S⁻¹ (Xᵀ Y / n) with S = XᵀX/n shrunk as above; the standardised X have mean 0, so the intercept is the share.
    """
    targets = statistics.means * statistics.share[:, None]
    weight = torch.linalg.solve(_shrunk(statistics.second, config.shrinkage), targets.T).T
    return weight, statistics.share.clone()


STARTS: Mapping[str, Callable[[ClassStatistics, TrainingConfig], Layer]] = {
    "centroids": centroids,
    "lda": lda,
    "ridge": ridge,
}
"""The closed forms by the names that a configuration knows them by."""


def _shrunk(matrix: torch.Tensor, share: float) -> torch.Tensor:
    """Mix a covariance with the identity of equal trace (Ledoit and Wolf 2004), never quite singular."""
    width = len(matrix)
    level = matrix.diagonal().mean()
    identity = torch.eye(width, dtype=matrix.dtype, device=matrix.device)
    return (1 - share) * matrix + (share + 1e-9) * level * identity
