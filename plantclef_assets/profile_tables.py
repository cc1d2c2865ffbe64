"""The tables of a profile: the runs of the leaderboard, and how classifiers and backbones are trained.

What belongs here: what one row of such a table may say. What does not: settings of a single value (`settings.py`).
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from plantclef_assets.scoring.aggregation import check_aggregation
from plantclef_assets.vision.tiling import parse_tiling


class RunSettings(BaseModel):
    """One row of the result table: a feature set × a tiling × an aggregation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature_set: Literal["base_dct", "base_cls", "finetuned_cls", "finetuned_head"]
    tiling: str = "full"
    aggregation: str = "argmax_union"
    species_per_plot: PositiveInt | None = None

    @model_validator(mode="after")
    def _check_tiling_and_aggregation(self) -> Self:
        parse_tiling(self.tiling)
        check_aggregation(self.aggregation, self.aggregation_parameters)
        return self

    @property
    def aggregation_parameters(self) -> dict[str, int]:
        """The parameters of the aggregation function that are set."""
        return {"species_per_plot": self.species_per_plot} if self.species_per_plot else {}


class ClassifierSettings(BaseModel):
    """How the linear layer is trained; learning rate and batch size are the paper's (arXiv 2407.06298)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(default=0.002, gt=0)
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 100
    patience: PositiveInt = 10
    validation_share: float = Field(default=0.2, gt=0, lt=1)


class FinetuningSettings(BaseModel):
    """How the base backbone is fine-tuned on the training photographs (see `learning/finetuning.py`)."""

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
