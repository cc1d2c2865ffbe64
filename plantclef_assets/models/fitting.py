"""Training a classifier on stored features: from labelled rows to a calibrated layer with its metrics.

DS@GT PlantCLEF 2024 (arXiv 2407.06298) trains one linear layer with softmax and negative log-likelihood, Adam at a
learning rate of 0.002 and batches of 32, with early stopping on the validation loss: the preset `paper`. Even this
preset differs in two points: features are standardised (DCT coefficients reach ±30,000), and the weights of the best
epoch are kept instead of the last ones. By default, held-out training rows stop the training instead of the validation
rows, which are only used for metrics; every species with a training row is a class instead of those with at least 100;
and the probabilities are calibrated.

Memory: all rows are held once, and logits are computed block by block. See `resident_bytes`.
"""

from typing import Any

import numpy as np
import torch

from plantclef_assets.ingest.validation_split import Sides
from plantclef_assets.models.calibration import expected_calibration_error, fit_temperature
from plantclef_assets.models.closed_form import STARTS, Layer
from plantclef_assets.models.evaluation import Taxonomy, evaluate, predict
from plantclef_assets.models.heads import AfterEpoch, LabelledRows, train_heads
from plantclef_assets.models.linear import LinearClassifier, block_rows
from plantclef_assets.models.scaling import StandardisedRows, class_statistics
from plantclef_assets.models.training_config import TrainingConfig


def fit_classifier(
    features: np.ndarray,
    species_id: np.ndarray,
    sides: Sides,
    *,
    config: TrainingConfig,
    taxonomy: Taxonomy | None = None,
    device: torch.device | str = "cpu",
    progress: AfterEpoch | None = None,
) -> LinearClassifier:
    """Train a classifier; on a CPU equal arguments give equal weights.

    The classes are the species with at least `min_images` training rows. Rows of other species are used neither for
    training nor for stopping, and count as errors in the metrics. If no row of a class is held out, the validation rows
    stop the training, as in the reference, and nothing is calibrated.

    Args:
        features: float32 (n, D).
        species_id: int64 (n,).
        sides: the rows for training, stopping and validation.
        config: configuration of the training.
        taxonomy: genera and families for the metrics.
        device: device of the rows and of the training.
        progress: called after each epoch.

    Returns:
        the calibrated classifier of the best epoch. Its metrics: those of `evaluate` over the validation rows;
        `classes`, `train_rows` and `holdout_rows` (of classes), `validation_rows_without_class`,
        `species_without_class` (species with training rows that are no class) and `first_without_class`; `decided_by`
        (the rows that stopped the training, `holdout` or `val`), `calibration` (`fitted`, `off`, or `impossible` if
        nothing could be held out), with `temperature` and `ece_uncalibrated` if it was fitted; `epochs` (run),
        `best_epoch` (0 is the closed form) and, after at least one epoch, `learning_rate`, `best_losses`,
        `train_losses`, `stopping_losses` and `start_loss`, see `TrainedHead`.

    Raises:
        ValueError: shapes differ, sides overlap, a side has no row of a class, no species has enough rows, or training
            diverges.
    """
    _check_rows(features, species_id, sides)
    species, counts = np.unique(species_id[sides.train], return_counts=True)
    species_ids = species[counts >= config.min_images]
    if not len(species_ids):
        raise ValueError(
            f"no species has {config.min_images} training rows, the maximum is {counts.max()}; lower min_images"
        )
    known = np.isin(species_id, species_ids)
    learn, holdout = np.flatnonzero(sides.learn & known), np.flatnonzero(sides.holdout & known)
    validation = np.flatnonzero(sides.validation)
    deciding = holdout if len(holdout) else np.flatnonzero(sides.validation & known)
    if not len(deciding):
        raise ValueError("no validation row is of a species with training rows, so nothing can stop the training")

    inputs = StandardisedRows.of(features, learn, torch.device(device))
    classifier = _fit(inputs, features, species_id, species_ids, learn, deciding, config, progress)
    metrics = classifier.metrics | _calibration(config, holdout)
    if metrics["calibration"] == "fitted":
        before = predict(classifier, features, species_id, validation)
        metrics["ece_uncalibrated"] = expected_calibration_error(before.confidence, before.correct)
        metrics["temperature"] = fit_temperature(classifier, features[holdout], species_id[holdout])
        classifier = classifier.with_temperature(metrics["temperature"])
    predictions = predict(classifier, features, species_id, validation)
    without = species[counts < config.min_images]
    classifier.metrics.clear()
    classifier.metrics.update(
        metrics
        | evaluate(predictions, species_id[sides.train], taxonomy or Taxonomy({}, {}))
        | {
            "classes": len(species_ids),
            "train_rows": len(learn),
            "holdout_rows": len(holdout),
            "decided_by": "holdout" if len(holdout) else "val",
            "validation_rows_without_class": int((~known[validation]).sum()),
            "species_without_class": len(without),
            "first_without_class": without[:5].tolist(),
        }
    )
    return classifier


def resident_bytes(rows: int, width: int, classes: int, config: TrainingConfig) -> int:
    """Return an estimate of the peak memory of a training in bytes, if device and host are the same.

    For the 1.4 million photographs and 7,806 species of PlantCLEF 2024 and features of width 768 it is 4.7 GB, of which
    the features take 4.3 GB; each further learning rate adds 0.12 GB. (With a GPU, the host holds a second copy of the
    features.) The logits of all rows would take 44 GB.
    """
    heads, inner = len(config.learning_rates), config.hidden or width
    parameters = classes * (inner + 1) + config.hidden * (width + 1)
    features = rows * width * 4
    labels = rows * 8 * 4  # row numbers, labels, their order in an epoch, and copies for batches
    training = parameters * 4 * (5 * heads + 2)  # weights, two moments, two gradients; the best weights, and a copy
    step = 4 * config.batch_size * heads * classes * 4
    block = 24 * block_rows(classes) * classes + 4 * 4096 * width * 8
    closed_form = 0 if config.start == "zeros" else 8 * (5 * width * width + 4 * classes * width)
    return features + labels + max(training + step, closed_form) + block


def _fit(
    inputs: StandardisedRows,
    features: np.ndarray,
    species_id: np.ndarray,
    species_ids: np.ndarray,
    learn: np.ndarray,
    deciding: np.ndarray,
    config: TrainingConfig,
    progress: AfterEpoch | None,
) -> LinearClassifier:
    """Return the closed form or the trained layer, with metrics on its training."""
    learning, stopping = (_labelled(rows, species_id, species_ids, inputs.device) for rows in (learn, deciding))
    start: Layer | None = None
    if config.start != "zeros":
        statistics = class_statistics(inputs, learning.rows, learning.labels)
        start = STARTS[config.start](statistics, shrinkage=config.shrinkage, logit_adjustment=config.logit_adjustment)
        closed = _classifier(inputs, species_ids, {"weight": start[0], "bias": start[1]})
        if not config.epochs:
            closed.metrics.update(epochs=0, best_epoch=0)
            return closed
        # Scores of a closed form are no logits; without a temperature, training would first have to find their scale.
        temperature = fit_temperature(closed, features[deciding], species_id[deciding])
        start = start[0] / temperature, start[1] / temperature
    head = train_heads(inputs, learning, stopping, config, start, progress)
    classifier = _classifier(inputs, species_ids, head.parameters)
    classifier.metrics.update(
        epochs=len(head.train_losses),
        best_epoch=head.best_epoch,
        learning_rate=head.learning_rate,
        train_losses=head.train_losses,
        stopping_losses=head.stopping_losses,
        best_losses={str(rate): loss for rate, loss in head.best_losses.items()},
    )
    if head.start_loss is not None:
        classifier.metrics["start_loss"] = head.start_loss
    return classifier


def _check_rows(features: np.ndarray, species_id: np.ndarray, sides: Sides) -> None:
    """Raise if the arguments do not fit together."""
    masks = (sides.learn, sides.holdout, sides.validation)
    if features.ndim != 2 or {len(species_id), *(len(mask) for mask in masks)} != {len(features)}:
        shapes = ", ".join(str(array.shape) for array in (features, species_id, *masks))
        raise ValueError(f"features, species_id and the three sides ({shapes}) have different numbers of rows")
    twice = np.count_nonzero(np.sum(masks, axis=0) > 1)
    if twice:
        raise ValueError(f"{twice} rows are on more than one side")
    if not sides.learn.any() or not sides.validation.any():
        raise ValueError(
            f"there are {np.count_nonzero(sides.learn)} training and {np.count_nonzero(sides.validation)} validation "
            "rows; a classifier needs both"
        )


def _labelled(rows: np.ndarray, species_id: np.ndarray, species_ids: np.ndarray, device: torch.device) -> LabelledRows:
    labels = np.searchsorted(species_ids, species_id[rows])
    return LabelledRows(torch.from_numpy(rows).to(device), torch.from_numpy(labels).to(device))


def _classifier(inputs: StandardisedRows, species_ids: np.ndarray, parameters: Any) -> LinearClassifier:
    tensors = {"mean": inputs.mean, "scale": inputs.scale, **parameters}
    return LinearClassifier(
        species_ids=species_ids, **{name: tensor.float().cpu().numpy() for name, tensor in tensors.items()}
    )


def _calibration(config: TrainingConfig, holdout: np.ndarray) -> dict[str, str]:
    if not config.calibrate:
        return {"calibration": "off"}
    return {"calibration": "fitted" if len(holdout) else "impossible"}
