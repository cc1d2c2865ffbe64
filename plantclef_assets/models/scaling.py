"""Feature rows as a classifier sees them: one tensor on the device, standardised as they are taken.

All rows are there once. On a CPU the tensor is the array itself, so nothing is copied at all.
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
        features: float32 (n, D), as they came, on the device.
        mean: float32 (D,), of the rows that are learned from.
        scale: float32 (D,), their standard deviation; 1 where a feature is constant.
    """

    features: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, features: np.ndarray, rows: np.ndarray, device: torch.device) -> "StandardisedRows":
        """Bring float32 (n, D) to the device, to be standardised by some of its rows."""
        mean, scale = moments(features, rows)
        # torch takes no array that may not be written to, as those from Arrow are; that one is copied.
        tensor = torch.from_numpy(np.require(features, np.float32, ["C", "W"])).to(device)
        return cls(tensor, torch.from_numpy(mean).to(device), torch.from_numpy(scale).to(device))

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.features.device

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Give some rows, standardised: int64 (b,) on the device → float32 (b, D)."""
        return self.features[rows].sub_(self.mean).div_(self.scale)

    def blocks(
        self, rows: torch.Tensor, labels: torch.Tensor, size: int = _BLOCK_ROWS
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Give rows and their labels in blocks, in their order."""
        for block, block_labels in zip(rows.split(size), labels.split(size), strict=True):
            yield self.take(block), block_labels


def moments(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of the rows in float64, a block at a time, as float32 (D,)."""
    blocks = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
    mean = sum(features[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    squares = sum(np.square(features[block] - mean, dtype=np.float64).sum(axis=0) for block in blocks)
    scale = np.sqrt(squares / len(rows))
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(mean, np.float32), scale.astype(np.float32)
