"""Settings of models: the backbones, fine-tuning, and the classifiers."""

import dataclasses
import re
from typing import Any, Self, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from plantclef_assets.ingest.locations import TRAIN, check_weights
from plantclef_assets.models.feature_sets import TRAINED
from plantclef_assets.models.finetuning_config import FinetuningSettings
from plantclef_assets.models.training_config import PRESETS, TrainingConfig
from plantclef_assets.settings.loading import FromProfile


def _training_options() -> type[BaseModel]:
    """Create a pydantic model with the fields of `TrainingConfig` except its seed, which is a setting of its own."""
    hints = get_type_hints(TrainingConfig, include_extras=True)
    declared = {field.name: field for field in dataclasses.fields(TrainingConfig) if field.name != "seed"}
    options: dict[str, Any] = {
        name: (hints[name], FieldInfo.from_annotated_attribute(hints[name], field)) for name, field in declared.items()
    }
    return create_model("TrainingOptions", **options)


class ClassifierSettings(_training_options()):
    """How a classifier is trained.

    A preset sets several values at once. Values that are set explicitly take precedence.
    """

    # Not a dataclass: beside a preset, a value that is not set differs from one that is set to its default.
    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str | None = Field(
        default=None, description=f"Name of published values: {', '.join(f'`{name}`' for name in PRESETS)}."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="One learning rate, in place of `learning_rates`."
    )
    validation_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of the observations in the validation split, if the training CSV has no `learn_tag`. All "
        "classifiers and fine-tuning share the split, so only `classifier` may set it.",
    )

    @field_validator("preset")
    @classmethod
    def _check_preset(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"there is no preset '{value}'; use one of {', '.join(PRESETS)}")
        return value

    @model_validator(mode="after")
    def _check_training(self) -> Self:
        if {"learning_rate", "learning_rates"} <= self.model_fields_set:
            raise ValueError("learning_rate and learning_rates are both set; set one of them")
        self.training_config(seed=0)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out values that are not set, so that the settings can be created from the result again."""
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}

    def training_config(self, seed: int) -> TrainingConfig:
        """Return the configuration that these settings and their preset add up to.

        Raises:
            ValueError: two values contradict each other.
        """
        values = {name: getattr(self, name) for name in self.model_fields_set - {"preset", "validation_share"}}
        if (rate := values.pop("learning_rate", None)) is not None:
            values["learning_rates"] = (rate,)
        return TrainingConfig(**{**PRESETS.get(self.preset or "", {}), **values, "seed": seed})


class Training(FromProfile):
    """Backbones and classifiers."""

    base_model: str = Field(default="vit_base_patch14_dinov2", description="timm name of the base backbone.")
    base_weights: str = Field(
        default="hub",
        description="Weights of the base backbone: `hub` (downloaded by timm), a .safetensors, .pth or .pth.tar file, "
        "or the `gs://` or `https://` address of one (`#sha256=…` is verified).",
    )
    base_input_size: PositiveInt | None = Field(
        default=None,
        description="Side of the input of the base backbone; not set: the default of its model.",
        json_schema_extra={"unit": "px"},
    )
    finetuned_model: str | None = Field(
        default=None, description="timm name of the fine-tuned backbone; not used with the weights `train`."
    )
    finetuned_weights: str | None = Field(
        default=None,
        description="Weights of the fine-tuned backbone: the same forms as for `base_weights`, or the organisers' tar "
        "(`published` downloads it). `train`: the base backbone is fine-tuned on the training photographs. Without "
        "weights, the assets of the fine-tuned backbone do not exist.",
    )
    finetuned_input_size: PositiveInt | None = Field(
        default=None,
        description="Side of the input of the fine-tuned backbone; not set: the default of its model.",
        json_schema_extra={"unit": "px"},
    )
    seed: int = Field(default=42, description="Seed of splits, training and composed plots.")
    classifier: ClassifierSettings = Field(
        default=ClassifierSettings(), description="How classifiers are trained (see [classifiers](classifiers.md))."
    )
    classifiers: dict[str, ClassifierSettings] = Field(
        default_factory=dict,
        description="Additional classifiers, named `<feature set>_<name>`. Each has its own table; nothing is "
        "inherited from `classifier`.",
    )
    finetuning: FinetuningSettings = Field(
        default=FinetuningSettings(), description="How the backbone is fine-tuned if `finetuned_weights` is `train`."
    )

    @field_validator("base_weights", "finetuned_weights")
    @classmethod
    def _check_weights(cls, value: str | None, field: ValidationInfo) -> str | None:
        if value == TRAIN and field.field_name == "base_weights":
            raise ValueError("'train' is for PLANTCLEF_FINETUNED_WEIGHTS; set a weights file or 'hub' here")
        return check_weights(value)

    @field_validator("classifiers")
    @classmethod
    def _check_classifiers(cls, value: dict[str, ClassifierSettings]) -> dict[str, ClassifierSettings]:
        return check_classifiers(value)


def check_classifiers(classifiers: dict[str, ClassifierSettings]) -> dict[str, ClassifierSettings]:
    """Return the classifiers that are declared beside the common one.

    Raises:
        ValueError: a name does not begin with a feature set, or a value has to be the same for all.
    """
    for name, one in classifiers.items():
        if not re.fullmatch(rf"({'|'.join(TRAINED)})_[a-z0-9_]+", name):
            raise ValueError(
                f"the classifier '{name}' has to be named by its feature set ({', '.join(TRAINED)}), then "
                "'_' and lower-case letters, digits or '_'"
            )
        if "validation_share" in one.model_fields_set:
            raise ValueError(f"validation_share is the same for all, so set it in classifier, not for '{name}'")
    return classifiers
