"""Configuration of the training of a classifier: start, loss, optimiser and classes, and presets of several values."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plantclef_assets.configuration import check_bounds, setting
from plantclef_assets.models import closed_form, losses

STARTS = ("zeros", *closed_form.STARTS)
LOSSES = tuple(losses.LOSSES)
STOP_ON = ("holdout", "val")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "start": "zeros",
        "epochs": 10,
        "loss": "nll",
        "logit_adjustment": 0.0,
        "hidden": 0,
        "batch_size": 32,
        "learning_rates": (0.002,),
        "weight_decay": 0.0,
        "min_images": 100,
        "calibrate": False,
        "stop_on": "val",
    }
}
"""Name → values. `paper` is the linear head of DS@GT PlantCLEF 2024 (arXiv 2407.06298)."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a classifier is trained."""

    start: str = setting(
        "zeros",
        "Initial weights of the layer: `zeros`, or a closed form of the training rows (`centroids`, `lda` or `ridge`).",
    )
    epochs: int = setting(
        100,
        "Maximum number of passes over the training rows; early stopping ends most trainings sooner. The paper needs "
        "10 for 1.3 million rows; a small data set has fewer steps per epoch and needs more epochs. With 0 the closed "
        "form is the classifier.",
        ge=0,
    )
    loss: str = setting("nll", "Loss function: `nll` or `asymmetric`.")
    logit_adjustment: float = setting(
        0.0,
        "Factor τ of the logarithm of the class shares, which is added to the logits in training only (Menon et al. "
        "2021, arXiv 2007.07314, eq. 10). 0 favours species with many photographs, 1 treats all species alike.",
        ge=0,
        allow_inf_nan=False,
    )
    hidden: int = setting(0, "Width of a hidden layer with GELU; 0 is a linear classifier.", ge=0)
    batch_size: int = setting(32, "Training rows per step.", unit="rows", gt=0)
    learning_rates: tuple[float, ...] = setting(
        (0.002,), "Learning rates of Adam, trained side by side; the best one is kept."
    )
    weight_decay: float = setting(0.0, "L2 penalty in Adam.", ge=0)
    patience: int = setting(
        10, "Training stops after this many epochs without a lower loss on the rows of `stop_on`.", unit="epochs", gt=0
    )
    shrinkage: float = setting(
        0.1, "Share of the identity matrix in the covariance of the closed forms `lda` and `ridge`.", ge=0, le=1
    )
    min_images: int = setting(
        1, "Species with fewer training photographs are not classes. The paper uses 100.", unit="photographs", gt=0
    )
    calibrate: bool = setting(True, "Whether one temperature is fitted and folded into the layer.")
    stop_on: str = setting(
        "holdout",
        "Rows that choose the epoch and the learning rate: `holdout` (held-out training rows), or `val` (validation "
        "rows, as in the paper). With `val`, the metrics of the classifier are optimistic.",
    )
    seed: int = setting(42, "Seed of the order of the rows, and of the first weights of a hidden layer.")

    def __post_init__(self) -> None:
        """Check that a classifier can be trained with these values.

        Raises:
            ValueError: a value is impossible, or two contradict each other.
        """
        for name, words in (("start", STARTS), ("loss", LOSSES), ("stop_on", STOP_ON)):
            if getattr(self, name) not in words:
                raise ValueError(f"{name} is '{getattr(self, name)}'; use one of {', '.join(words)}")
        check_bounds(self)
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(f"learning_rates is {list(self.learning_rates)}; at least one is needed, all more than 0")
        if not self.epochs and self.start == "zeros":
            raise ValueError("epochs is 0, so the start is the classifier, and zeros cannot be one; use another start")
        if self.hidden and self.start != "zeros":
            raise ValueError(f"start is '{self.start}', which is for a linear layer; with hidden it has to be zeros")
        if self.calibrate and self.stop_on == "val":
            raise ValueError("calibrate needs held-out photographs, and stop_on = 'val' holds none out; change one")

    def changes(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as JSON values: provenance records only these."""
        fields = dataclasses.fields(self)
        values = {field.name: _as_json(getattr(self, field.name)) for field in fields}
        return {field.name: values[field.name] for field in fields if values[field.name] != _as_json(field.default)}


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
