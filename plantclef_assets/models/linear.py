"""Linear classifiers: standardised features → softmax over species, by one linear layer or two layers."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

_BLOCK_VALUES = 2**22
"""Logits of a block: 16 MB, 537 rows with the 7,806 species of PlantCLEF 2024."""
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class LinearClassifier:
    """A linear layer with its class list, optionally with a hidden layer before it.

    Attributes:
        mean: float32 (D,), mean of the training features.
        scale: float32 (D,), their standard deviation; 1 for a constant feature.
        weight: float32 (classes, D), for standardised features; (classes, H) after a hidden layer.
        bias: float32 (classes,).
        species_ids: int64 (classes,), ascending; class c is species_ids[c].
        hidden_weight: float32 (H, D) of a hidden layer with GELU, for standardised features.
        hidden_bias: float32 (H,); given together with `hidden_weight`.
        metrics: plain values, see `fit_classifier`.
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    species_ids: np.ndarray
    hidden_weight: np.ndarray | None = None
    hidden_bias: np.ndarray | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the classifier by name; those of a hidden layer only if it has one."""
        hidden = {"hidden_weight": self.hidden_weight, "hidden_bias": self.hidden_bias}
        names = ("mean", "scale", "weight", "bias", "species_ids")
        return {name: getattr(self, name) for name in names} | {
            name: array for name, array in hidden.items() if array is not None
        }

    def with_temperature(self, temperature: float) -> "LinearClassifier":
        """Return the classifier with logits divided by a temperature; the order of species is the same."""
        divisor = np.float32(temperature)
        return replace(self, weight=self.weight / divisor, bias=self.bias / divisor)

    def logits(self, features: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield the logits of float32 (n, D) in blocks of float32 (b, classes), in the order of the rows.

        Raises:
            ValueError: the features have another width than the training features.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(
                f"features have shape {features.shape}; this classifier was trained on width {len(self.mean)}"
            )
        weight, bias = torch.tensor(self.weight), torch.tensor(self.bias)
        size = block_rows(len(bias))
        for start in range(0, len(features), size):
            block = torch.from_numpy((features[start : start + size] - self.mean) / self.scale)
            if self.hidden_weight is not None:
                layer = torch.tensor(self.hidden_weight), torch.tensor(self.hidden_bias)
                block = functional.gelu(functional.linear(block, *layer))
            yield functional.linear(block, weight, bias)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the softmax over all classes: float32 (n, D) → float32 (n, classes).

        The result has all rows and classes; `top_k` needs the memory of one block only.

        Raises:
            ValueError: the features have another width than the training features.
        """
        blocks = [logits.softmax(dim=1).numpy() for logits in self.logits(features)]
        return np.concatenate(blocks) if blocks else np.empty((0, len(self.species_ids)), np.float32)

    def top_k(self, features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k most probable species of each row in descending order, equal ones by species_id.

        Returns:
            species_ids int64 and probabilities float32, both of shape (n, min(k, classes)).

        Raises:
            ValueError: k is not positive, or the features have another width.
        """
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        k = min(k, len(self.species_ids))
        classes, probabilities = np.empty((len(features), k), np.int64), np.empty((len(features), k), np.float32)
        start = 0
        for logits in self.logits(features):
            block, rows = logits.softmax(dim=1).numpy(), slice(start, start + len(logits))
            classes[rows] = _largest(block, k)
            probabilities[rows] = np.take_along_axis(block, classes[rows], axis=1)
            start += len(logits)
        return self.species_ids[classes], probabilities


def block_rows(classes: int) -> int:
    """Return the number of rows of a block, which limits the memory of its logits."""
    return max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // classes))


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of the k largest non-negative float32 values of each row, equal ones by column."""
    # The bits of non-negative floats sort like integers; with the column in the lower bits all keys differ.
    columns = np.arange(values.shape[1], dtype=np.int64)
    keys = values.view(np.int32).astype(np.int64)
    keys <<= 32
    keys -= columns
    unordered = np.argpartition(keys, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
    order = np.argsort(-np.take_along_axis(keys, unordered, axis=1), axis=1)
    return np.take_along_axis(unordered, order, axis=1)
