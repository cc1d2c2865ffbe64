"""The linear layer of the reference: standardised features → softmax over species.

DS@GT PlantCLEF 2024 (arXiv 2407.06298) trains one linear layer with softmax and negative log-likelihood, Adam at a
learning rate of 0.002 and batches of 32, with early stopping on the validation loss. Three things differ on
purpose: features are standardised (DCT coefficients reach ±30,000), the weights of the best epoch are kept instead
of the last, and every species with a training row is a class instead of those with at least 100.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional

_BLOCK = 4096
"""Rows scored at a time: 128 MB of logits with all 7,806 species of PlantCLEF 2024."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a linear classifier is trained.

    Attributes:
        epochs: at most so many passes over the training rows. The reference needs 10 for 1.3 million rows; a
            small set makes few steps an epoch, hence more, and early stopping ends them.
        batch_size: rows per step, as in the reference.
        learning_rate: of Adam, as in the reference.
        patience: stop after so many epochs without a better validation loss.
        weight_decay: L2 penalty in Adam; the reference has none.
        seed: of the order of the rows.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 0.002
    patience: int = 10
    weight_decay: float = 0.0
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse what cannot train.

        Raises:
            ValueError: a number that must be positive is not.
        """
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")


@dataclass(frozen=True)
class LinearClassifier:
    """A trained linear layer with its own class list.

    Attributes:
        mean: float32 (D,), of the training features.
        scale: float32 (D,), their standard deviation; 1 where a feature is constant.
        weight: float32 (classes, D), for standardised features.
        bias: float32 (classes,).
        species_ids: int64 (classes,), ascending; class c is species_ids[c].
        metrics: plain values, see `fit_classifier`.
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    species_ids: np.ndarray
    metrics: dict[str, Any] = field(default_factory=dict)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Compute the softmax over all classes: float32 (n, D) → float32 (n, classes).

        The result is whole: for many rows and classes call it on parts, or use `top_k`, which keeps no more than
        a block.

        Raises:
            ValueError: the features have another width than those it was trained on.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(
                f"features have shape {features.shape}; this classifier was trained on width {len(self.mean)}"
            )
        result = np.empty((len(features), len(self.species_ids)), np.float32)
        weight, bias = torch.tensor(self.weight), torch.tensor(self.bias)
        for start in range(0, len(features), _BLOCK):
            block = (features[start : start + _BLOCK] - self.mean) / self.scale
            logits = functional.linear(torch.from_numpy(block), weight, bias)
            result[start : start + _BLOCK] = logits.softmax(dim=1).numpy()
        return result

    def top_k(self, features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k most probable species of each row, the most probable first, equal ones by species_id.

        Returns:
            species_ids int64 and probabilities float32, both of shape (n, min(k, classes)).

        Raises:
            ValueError: k is not positive, or the features have another width.
        """
        if k < 1:
            raise ValueError(f"the best {k} species were asked for; ask for at least one")
        k = min(k, len(self.species_ids))
        classes, probabilities = np.empty((len(features), k), np.int64), np.empty((len(features), k), np.float32)
        for start in range(0, len(features), _BLOCK):
            block = self.probabilities(features[start : start + _BLOCK])
            best = _largest(block, k)
            classes[start : start + _BLOCK] = best
            probabilities[start : start + _BLOCK] = np.take_along_axis(block, best, axis=1)
        return self.species_ids[classes], probabilities


def fit_classifier(
    features: np.ndarray,
    species_id: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    config: TrainingConfig,
    progress: Callable[[int, float, float], None] | None = None,
) -> LinearClassifier:
    """Train the linear layer; on a CPU equal arguments give equal weights.

    The classes are the species with a training row. Validation rows of other species have no class: they do not
    enter the validation loss, but count as wrong in the accuracies.

    Args:
        features: float32 (n, D).
        species_id: int64 (n,).
        train: boolean (n,), rows to learn from.
        validation: boolean (n,), rows that decide when to stop; shares no row with `train`.
        config: how to train.
        progress: called after each epoch with (epoch from 1, training loss, validation loss).

    Returns:
        the classifier of the best epoch. Its metrics: `accuracy` (top 1), `accuracy_top5`, `majority_rate` (accuracy
        of always saying the commonest training species), `classes`, `train_rows`, `validation_rows`,
        `validation_rows_without_class`, `epochs`, `best_epoch`, and the losses of each epoch, `train_losses`
        and `validation_losses` (mean negative log-likelihood in nats).

    Raises:
        ValueError: shapes differ, the sides overlap, or one of them has no (known) row, or training diverges.
    """
    rows, held_out = _check_rows(features, species_id, train, validation)
    species_ids = np.unique(species_id[rows])
    known = held_out[np.isin(species_id[held_out], species_ids)]
    if not len(known):
        raise ValueError("no validation row is of a species that has training rows; nothing could stop training")
    mean, scale = _moments(features, rows)
    inputs, heldout_inputs = _standardised(features, rows, mean, scale), _standardised(features, known, mean, scale)
    labels = torch.from_numpy(np.searchsorted(species_ids, species_id[rows]))
    heldout_labels = torch.from_numpy(np.searchsorted(species_ids, species_id[known]))

    # The loss is convex, so zeros are as good a start as any, and need no random numbers.
    weight = torch.zeros(len(species_ids), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(species_ids), requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=config.learning_rate, weight_decay=config.weight_decay)
    order = torch.Generator().manual_seed(config.seed)
    best = (float("inf"), 0, weight.detach().clone(), bias.detach().clone())
    train_losses: list[float] = []
    validation_losses: list[float] = []
    for epoch in range(1, config.epochs + 1):
        total = 0.0
        for batch in torch.randperm(len(inputs), generator=order).split(config.batch_size):
            optimiser.zero_grad()
            loss = functional.cross_entropy(functional.linear(inputs[batch], weight, bias), labels[batch])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        train_losses.append(total / len(inputs))
        validation_losses.append(_loss(heldout_inputs, heldout_labels, weight.detach(), bias.detach()))
        if progress is not None:
            progress(epoch, train_losses[-1], validation_losses[-1])
        if validation_losses[-1] < best[0]:
            best = (validation_losses[-1], epoch, weight.detach().clone(), bias.detach().clone())
        elif epoch - best[1] >= config.patience:
            break
    _, best_epoch, best_weight, best_bias = best
    if best_epoch == 0:
        raise ValueError("training diverged: no epoch has a finite validation loss; lower the learning rate")

    classifier = LinearClassifier(mean, scale, best_weight.numpy(), best_bias.numpy(), species_ids)
    metrics = _validation_metrics(classifier, features, species_id, rows, held_out) | {
        "classes": len(species_ids),
        "train_rows": len(rows),
        "validation_rows": len(held_out),
        "validation_rows_without_class": len(held_out) - len(known),
        "epochs": len(train_losses),
        "best_epoch": best_epoch,
        "train_losses": train_losses,
        "validation_losses": validation_losses,
    }
    classifier.metrics.update(metrics)
    return classifier


def _check_rows(
    features: np.ndarray, species_id: np.ndarray, train: np.ndarray, validation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Check that the arguments belong together; return the row numbers of the two sides."""
    lengths = {len(features), len(species_id), len(train), len(validation)}
    if features.ndim != 2 or len(lengths) != 1:
        raise ValueError(
            f"features {features.shape}, species_id {species_id.shape}, train {train.shape} and validation "
            f"{validation.shape} do not describe the same rows"
        )
    if np.any(train & validation):
        raise ValueError(f"{np.count_nonzero(train & validation)} rows are both training and validation")
    if not train.any() or not validation.any():
        raise ValueError(
            f"there are {np.count_nonzero(train)} training and {np.count_nonzero(validation)} validation rows; "
            "a classifier needs both"
        )
    return np.flatnonzero(train), np.flatnonzero(validation)


def _moments(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of the rows in float64, a block at a time, as float32 (D,)."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    mean = sum(features[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    squares = sum(np.square(features[block] - mean, dtype=np.float64).sum(axis=0) for block in blocks)
    scale = np.sqrt(squares / len(rows))
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(mean, np.float32), scale.astype(np.float32)


def _standardised(features: np.ndarray, rows: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> torch.Tensor:
    """Gather and standardise rows once, so that an epoch only reads them."""
    gathered = features[rows].astype(np.float32, copy=False)
    gathered -= mean
    gathered /= scale
    return torch.from_numpy(gathered)


def _loss(inputs: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> float:
    """Compute the mean negative log-likelihood in blocks."""
    total = 0.0
    for block, block_labels in zip(inputs.split(_BLOCK), labels.split(_BLOCK), strict=True):
        logits = functional.linear(block, weight, bias)
        total += functional.cross_entropy(logits, block_labels, reduction="sum").item()
    return total / len(inputs)


def _validation_metrics(
    classifier: LinearClassifier,
    features: np.ndarray,
    species_id: np.ndarray,
    rows: np.ndarray,
    held_out: np.ndarray,
) -> dict[str, float]:
    """Compute the accuracies over all validation rows, and what guessing would reach."""
    truth = species_id[held_out]
    hits = classifier.top_k(features[held_out], 5)[0] == truth[:, None]
    species, counts = np.unique(species_id[rows], return_counts=True)
    return {
        "accuracy": float(hits[:, 0].mean()),
        "accuracy_top5": float(hits.any(axis=1).mean()),
        "majority_rate": float((truth == species[counts.argmax()]).mean()),
    }


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Find the columns of the k largest non-negative float32 values of each row, equal ones by column."""
    # The bits of non-negative floats sort as integers do; with the column below them no two keys are equal.
    columns = np.arange(values.shape[1], dtype=np.int64)
    keys = (values.view(np.int32).astype(np.int64) << 32) - columns
    unordered = np.argpartition(keys, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
    order = np.argsort(-np.take_along_axis(keys, unordered, axis=1), axis=1)
    return np.take_along_axis(unordered, order, axis=1)
