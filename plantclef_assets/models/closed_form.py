"""Closed forms of a linear layer, from class means and covariance of standardised features.

Each needs only sums over the rows (`ClassStatistics`), and is a usable classifier without training, also for a species
with a single photograph. A new one is one function here, decorated with `@register_start`; its name is the value of the
setting `start`. torch is imported inside the functions, so that settings can be checked without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from plantclef_assets.models.scaling import ClassStatistics

Layer = tuple["torch.Tensor", "torch.Tensor"]
"""Weight (classes, D) and bias (classes,), for standardised features."""


class Start(Protocol):
    """A closed form.

    Args:
        statistics: of the training rows.
        shrinkage: share α of the identity in the covariance, 0 to 1.
        logit_adjustment: factor τ of the logarithm of the class shares.
    """

    __name__: str

    def __call__(self, statistics: ClassStatistics, *, shrinkage: float, logit_adjustment: float) -> Layer:
        """Return the layer."""
        ...


STARTS: dict[str, Start] = {}
"""The registered closed forms by name."""


def register_start(start: Start) -> Start:
    """Register a closed form under the name of its function."""
    STARTS[start.__name__] = start
    return start


@register_start
def centroids(statistics: ClassStatistics, *, shrinkage: float, logit_adjustment: float) -> Layer:
    """Return the layer of the most similar centroid: the cosine between a photograph and the mean of a species.

    The logit is the photograph's projection on the unit vector of the mean. It is not divided by the photograph's
    length, which does not change the order, so that a photograph unlike all species has small logits.
    """
    import torch

    weight = torch.nn.functional.normalize(statistics.means, dim=1)
    return weight, weight.new_zeros(len(weight))


@register_start
def lda(statistics: ClassStatistics, *, shrinkage: float, logit_adjustment: float) -> Layer:
    """Return the layer of linear discriminant analysis: Gaussians with a common covariance Σ around the means m.

    w = Σ⁻¹m, b = −½ mᵀΣ⁻¹m + (1 − τ) log share (Hastie, Tibshirani, Friedman 2009, eq. 4.10), with Σ the
    pooled covariance within classes, shrunk: (1 − α) Σ + α tr(Σ)/D · I.
    """
    import torch

    between = statistics.means.T @ (statistics.means * statistics.share[:, None])
    within = _shrunk(statistics.second - between, shrinkage)
    weight = torch.linalg.solve(within, statistics.means.T).T
    prior = (1 - logit_adjustment) * statistics.share.log()
    return weight, prior - (weight * statistics.means).sum(dim=1) / 2


@register_start
def ridge(statistics: ClassStatistics, *, shrinkage: float, logit_adjustment: float) -> Layer:
    """Return the layer of ridge regression on one-hot targets, with a free intercept.

    W = S⁻¹ (Xᵀ Y / n) with S = XᵀX/n shrunk as in `lda`; standardised X has mean 0, so the intercept is the share.
    """
    import torch

    targets = statistics.means * statistics.share[:, None]
    weight = torch.linalg.solve(_shrunk(statistics.second, shrinkage), targets.T).T
    return weight, statistics.share.clone()


def _shrunk(matrix: torch.Tensor, share: float) -> torch.Tensor:
    """Return a covariance mixed with the identity of equal trace (Ledoit and Wolf 2004); it is never singular."""
    import torch

    width = len(matrix)
    level = matrix.diagonal().mean()
    identity = torch.eye(width, dtype=matrix.dtype, device=matrix.device)
    return (1 - share) * matrix + (share + 1e-9) * level * identity
