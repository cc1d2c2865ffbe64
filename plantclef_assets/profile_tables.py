"""The tables of a profile: the runs of the leaderboard, how classifiers and backbones are trained, and downloads.

What belongs here: what one row of such a table may say. What does not: settings of a single value (`settings.py`).
"""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from plantclef_assets.scoring.aggregation import check_aggregation
from plantclef_assets.vision.tiling import parse_tiling

_AGGREGATION_PARAMETERS = (
    "species_per_plot",
    "min_species",
    "min_score",
    "min_votes",
    "top_per_tile",
    "mean_species_per_plot",
    "scored_by",
)


class RunSettings(BaseModel):
    """One row of the result table: a feature set × a tiling × an aggregation.

    What the parameters of an aggregation mean is said in `scoring/selection.py` and `scoring/species_scores.py`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature_set: Literal["base_dct", "base_cls", "finetuned_cls", "finetuned_head"]
    tiling: str = "full"
    aggregation: str = "argmax_union"
    species_per_plot: PositiveInt | None = None
    min_species: PositiveInt | None = None
    min_score: float | None = Field(default=None, gt=0, le=1)
    min_votes: PositiveInt | None = None
    top_per_tile: PositiveInt | None = None
    mean_species_per_plot: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    scored_by: Literal["max", "mean", "vote"] | None = None
    revisits: Literal["union", "vote", "mean"] | None = None

    @model_validator(mode="after")
    def _check_tiling_and_aggregation(self) -> Self:
        parse_tiling(self.tiling)
        check_aggregation(self.aggregation, self.aggregation_parameters, self.revisits)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the parameters that are not set, so that a new one leaves the provenance of other runs alone."""
        return {name: value for name, value in dump(self).items() if value is not None or name == "species_per_plot"}

    @property
    def aggregation_parameters(self) -> dict[str, Any]:
        """The parameters of the aggregation that are set."""
        values = {name: getattr(self, name) for name in _AGGREGATION_PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}


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


class DownloadSettings(BaseModel):
    """What downloads may take together (see `ingest/limits.py`); sizes may be said as `20M` or `16MiB`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connections: int = Field(default=4, ge=1, le=32)
    bytes_per_second: ByteSize | None = Field(default=None, ge=1)
    chunk_bytes: ByteSize = Field(default=ByteSize(2**24), ge=2**16)
    max_bytes: ByteSize | None = Field(default=None, ge=1)
    timeout_seconds: float = Field(default=60, gt=0, allow_inf_nan=False)
