"""What one classifier is asked for: start, loss, optimiser and classes, and the presets that name several at once."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
"""Name → what it says. `paper` is the linear head of DS@GT PlantCLEF 2024 (arXiv 2407.06298)."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a classifier is trained.

    Attributes:
        start: where the layer begins, see `models/closed_form.py`: `zeros`, or a closed form.
        epochs: at most so many passes over the training rows. The reference needs 10 for 1.3 million rows; a
            small set makes few steps an epoch, hence more, and early stopping ends them. With 0 the closed form
            alone answers.
        loss: see `models/losses.py`.
        logit_adjustment: the factor τ of the logarithm of the class shares that is added to the logits in training
            only (Menon et al. 2021, arXiv 2007.07314, eq. 10): 0 favours common species as the photographs do, 1
            none.
        hidden: width of a hidden layer with GELU; 0 for none, which is a linear classifier.
        batch_size: rows per step, as in the reference.
        learning_rates: of Adam; several are tried side by side, and the best one is kept.
        weight_decay: L2 penalty in Adam; the reference has none.
        patience: stop after so many epochs without a better loss on the rows that decide.
        shrinkage: share of the identity in the covariance of the closed forms, 0 to 1.
        min_images: species with fewer training rows are no class; the reference asks for 100.
        calibrate: whether one temperature is fitted and folded into the layer.
        stop_on: which rows decide epoch and learning rate: `holdout`, training rows set aside, or `val`, as in the
            reference, which flatters what is then reported of them.
        seed: of the order of the rows, and of a hidden layer's first weights.
    """

    start: str = "zeros"
    epochs: int = 100
    loss: str = "nll"
    logit_adjustment: float = 0.0
    hidden: int = 0
    batch_size: int = 32
    learning_rates: tuple[float, ...] = (0.002,)
    weight_decay: float = 0.0
    patience: int = 10
    shrinkage: float = 0.1
    min_images: int = 1
    calibrate: bool = True
    stop_on: str = "holdout"
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse what cannot train.

        Raises:
            ValueError: a value is impossible, or two contradict each other.
        """
        for name, words in (("start", STARTS), ("loss", LOSSES), ("stop_on", STOP_ON)):
            if getattr(self, name) not in words:
                raise ValueError(f"{name} is '{getattr(self, name)}'; say one of {', '.join(words)}")
        for name in ("batch_size", "patience", "min_images"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        for name in ("epochs", "hidden", "weight_decay", "logit_adjustment"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(f"learning_rates is {list(self.learning_rates)}; name one at least, all positive")
        if not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage is {self.shrinkage}; it must lie between 0 and 1")
        if not self.epochs and self.start == "zeros":
            raise ValueError("epochs is 0, so the start alone answers, and zeros know nothing; say another start")
        if self.hidden and self.start != "zeros":
            raise ValueError(f"start is '{self.start}', which is of a linear layer; with hidden it has to be zeros")
        if self.calibrate and self.stop_on == "val":
            raise ValueError("calibrate needs photographs set aside, and stop_on = 'val' sets none aside; change one")

    def changes(self) -> dict[str, Any]:
        """Give what differs from the defaults, as plain values: this much of it is worth recording."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        defaults = {one.name: one.default for one in dataclasses.fields(self)} | {"learning_rates": [0.002]}
        return {name: value for name, value in values.items() if value != defaults[name]}
