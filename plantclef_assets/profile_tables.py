"""The tables of a profile: the runs of the leaderboard, and how classifiers and backbones are trained.

What belongs here: what one row of such a table may say. What does not: settings of a single value (`settings.py`).
"""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from plantclef_assets.scoring.aggregation import check_aggregation
from plantclef_assets.vision.tiling import parse_tiling

PUBLISHED = "published"
"""In place of a source: where its organisers publish it."""
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


class PublishedSettings(BaseModel):
    """What the organisers publish: where it lies, and how much there has to be of it for a source to be complete.

    The word `published` in place of a source stands for its location here; nothing is fetched unless it is said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    training_metadata: str | None = None
    training_images: str | None = None
    plot_images: str | None = None
    training_rows: PositiveInt | None = None
    plots: PositiveInt | None = None

    @staticmethod
    def named_in(values: dict[str, Any]) -> dict[str, Any]:
        """Put the locations into settings that say `published`.

        Raises:
            ValueError: a setting says so, but its profile knows no published location of it.
        """
        known = values.get("published")
        known = known.model_dump() if isinstance(known, PublishedSettings) else known or {}
        named = {}
        for name in ("training_metadata", "training_images", "plot_images"):
            if values.get(name) == PUBLISHED:
                if not known.get(name):
                    raise ValueError(
                        f"PLANTCLEF_{name.upper()}: '{PUBLISHED}' is of no use here, since the profile knows no "
                        "published location of it; give a path or an address"
                    )
                named[name] = known[name]
        return values | named


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
