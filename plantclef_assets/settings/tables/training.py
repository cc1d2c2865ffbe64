"""Tables of what is trained: classifiers and the fine-tuned backbone."""

import re
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from plantclef_assets.lake.keys import TRAINED_FEATURE_SETS
from plantclef_assets.models.training_config import PRESETS, TrainingConfig


class ClassifierSettings(BaseModel):
    """How a classifier is trained; what each name means is said in `models/training_config.py`.

    A preset sets several at once, and what is said beside it wins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str | None = None
    start: str = "zeros"
    epochs: NonNegativeInt = 100
    loss: str = "nll"
    logit_adjustment: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    hidden: NonNegativeInt = 0
    batch_size: PositiveInt = 32
    learning_rate: float = Field(default=0.002, gt=0)
    learning_rates: tuple[PositiveFloat, ...] | None = None
    weight_decay: float = Field(default=0.0, ge=0)
    patience: PositiveInt = 10
    shrinkage: float = Field(default=0.1, ge=0, le=1)
    min_images: PositiveInt = 1
    calibrate: bool = True
    stop_on: str = "holdout"
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    """Of the split that all classifiers and fine-tuning share, so only `classifier` may say it."""

    @field_validator("preset")
    @classmethod
    def _check_preset(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"there is no preset '{value}'; say one of {', '.join(PRESETS)}")
        return value

    @model_validator(mode="after")
    def _check_training(self) -> Self:
        if {"learning_rate", "learning_rates"} <= self.model_fields_set:
            raise ValueError("learning_rate and learning_rates are both set; say one of them")
        self.training_config(seed=0)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not set: beside a preset a default is not the same as nothing said."""
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}

    def training_config(self, seed: int) -> TrainingConfig:
        """Give what these settings and their preset come to.

        Raises:
            ValueError: two of them contradict each other.
        """
        values = {name: getattr(self, name) for name in self.model_fields_set - {"preset", "validation_share"}}
        if "learning_rate" in values:
            values["learning_rates"] = (values.pop("learning_rate"),)
        return TrainingConfig(**{**PRESETS.get(self.preset or "", {}), **values, "seed": seed})


class FinetuningSettings(BaseModel):
    """How the base backbone is fine-tuned on the training photographs (see `models/finetuning.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    head_epochs: PositiveInt = 12
    epochs: PositiveInt = 8
    blocks: PositiveInt | None = None
    head_learning_rate: float = Field(default=0.002, gt=0)
    learning_rate: float = Field(default=0.0005, gt=0)
    layer_decay: float = Field(default=0.8, gt=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0)
    batch_size: PositiveInt = 16
    smallest_crop: float = Field(default=0.5, gt=0, le=1)
    plain: float = Field(default=0.3, ge=0, le=1)
    paste: float = Field(default=0.5, ge=0, le=1)
    paste_layers: PositiveInt = 2
    logit_adjustment: float = Field(default=0.5, ge=0)
    average: float = Field(default=0.97, ge=0, lt=1)
    holdout_share: float = Field(default=0.1, gt=0, lt=1)


def check_classifiers(classifiers: dict[str, ClassifierSettings]) -> dict[str, ClassifierSettings]:
    """Give the classifiers that are declared beside the common one.

    Raises:
        ValueError: a name does not begin with a feature set, or a value has to be the same for all.
    """
    for name, one in classifiers.items():
        if not re.fullmatch(rf"({'|'.join(TRAINED_FEATURE_SETS)})_[a-z0-9_]+", name):
            raise ValueError(
                f"the classifier '{name}' has to be named by its feature set ({', '.join(TRAINED_FEATURE_SETS)}), then "
                "'_' and lower-case letters, digits or '_'"
            )
        if "validation_share" in one.model_fields_set:
            raise ValueError(f"validation_share is the same for all, so set it in classifier, not for '{name}'")
    return classifiers
