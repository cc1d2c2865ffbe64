"""Standardised feature rows: one tensor on the device, standardised block by block, and the class statistics of rows.

The rows are held once. On a CPU the tensor shares the memory of the array.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class StandardisedRows:
    """Rows of features, and the moments that standardise them.

    Attributes:
        features: float32 (n, D), not standardised, on the device.
        mean: float32 (D,), of the training rows.
        scale: float32 (D,), their standard deviation; 1 for a constant feature.
    """

    features: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, features: np.ndarray, rows: np.ndarray, device: torch.device) -> "StandardisedRows":
        """Move float32 (n, D) to the device, with the moments of some of its rows."""
        mean, scale = moments(features, rows)
        # torch takes no read-only arrays, such as those from Arrow; these are copied.
        tensor = torch.from_numpy(np.require(features, np.float32, ["C", "W"])).to(device)
        return cls(tensor, torch.from_numpy(mean).to(device), torch.from_numpy(scale).to(device))

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        return self.features.device

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Return standardised rows: int64 (b,) on the device → float32 (b, D)."""
        return self.features[rows].sub_(self.mean).div_(self.scale)

    def blocks(
        self, rows: torch.Tensor, labels: torch.Tensor, size: int = _BLOCK_ROWS
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield standardised rows and their labels in blocks, in their order."""
        for block, block_labels in zip(rows.split(size), labels.split(size), strict=True):
            yield self.take(block), block_labels


def moments(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the rows, float32 (D,), computed in float64 block by block."""
    blocks = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
    mean = sum(features[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    squares = sum(np.square(features[block] - mean, dtype=np.float64).sum(axis=0) for block in blocks)
    scale = np.sqrt(squares / len(rows))
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(mean, np.float32), scale.astype(np.float32)


@dataclass(frozen=True)
class ClassStatistics:
    """Means over rows of C classes, which the closed forms are functions of (`closed_form`).

    Attributes:
        share: float64 (C,), share of the rows in each class.
        means: float64 (C, D), mean of each class.
        second: float64 (D, D), mean of x·xᵀ over all rows.
    """

    share: torch.Tensor
    means: torch.Tensor
    second: torch.Tensor


def class_statistics(inputs: StandardisedRows, rows: torch.Tensor, labels: torch.Tensor) -> ClassStatistics:
    """Return the statistics of rows, int64 (n,), with labels int64 (n,) from 0; every class has a row.

    The sums are float64 and computed block by block: D × D and classes × D numbers, for any number of rows.
    """
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
