"""The tables of a profile: runs, sweeps, cover, validation plots, downloads, and how classifiers and backbones learn.

What belongs here: what one row of such a table may say. What does not: settings of a single value (`settings.py`).
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
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

from plantclef_assets.lake.keys import CHECKPOINT_HEAD, TRAINED_FEATURE_SETS, shard_keys
from plantclef_assets.learning.training_config import PRESETS, TrainingConfig
from plantclef_assets.locations import check_readable
from plantclef_assets.scoring.rules import Rule, check_rule
from plantclef_assets.scoring.sweep import expand_grid
from plantclef_assets.vision.tiling import parse_tiling

PUBLISHED = "published"
"""In place of a source: where its organisers publish it."""
_AGGREGATION_PARAMETERS = (
    "species_per_plot",
    "min_species",
    "min_score",
    "min_z",
    "min_votes",
    "top_per_tile",
    "mean_species_per_plot",
    "scored_by",
)


class RunSettings(BaseModel):
    """One row of the result table: a feature set × a tiling × an aggregation.

    What the parameters of an aggregation mean is said in `scoring/selection.py` and `scoring/species_scores.py`, what a
    prior and a list of species do in `scoring/priors.py`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature_set: str
    """Or one of several classifiers on it; which there are, only all settings together know."""
    tiling: str = "full"
    aggregation: str = "argmax_union"
    species_per_plot: PositiveInt | None = None
    min_species: PositiveInt | None = None
    min_score: float | None = Field(default=None, gt=0, le=1)
    min_z: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    min_votes: PositiveInt | None = None
    top_per_tile: PositiveInt | None = None
    mean_species_per_plot: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    scored_by: Literal["bayesian", "max", "mean", "vote"] | None = None
    prior: Literal["frequency", "region"] | None = None
    prior_power: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    species_list: str | None = None
    """A file of the only species that may be answered: a CSV with a column species_id, or one id a line."""
    revisits: Literal["union", "vote", "mean"] | None = None

    @field_validator("prior", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("species_list")
    @classmethod
    def _check_species_list(cls, value: str | None) -> str | None:
        return check_readable(value, "file")

    @model_validator(mode="after")
    def _check_tiling_and_rule(self) -> Self:
        parse_tiling(self.tiling)
        check_rule(self.rule)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the parameters that are not set, so that a new one leaves the provenance of other runs alone."""
        return {name: value for name, value in dump(self).items() if value is not None or name == "species_per_plot"}

    @property
    def cuts_plots(self) -> bool:
        """Whether its tiling makes more than one tile of a plot."""
        return parse_tiling(self.tiling).tiles != 1

    @property
    def aggregation_parameters(self) -> dict[str, Any]:
        """The parameters of the aggregation that are set."""
        values = {name: getattr(self, name) for name in _AGGREGATION_PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def rule(self) -> Rule:
        """All of it that turns probabilities into lists; a list of species is not a part of it."""
        power = 1.0 if self.prior_power is None else self.prior_power
        return Rule(self.aggregation, self.aggregation_parameters, self.revisits, self.prior, power)

    @property
    def needs_all_classes(self) -> bool:
        """Whether it reads the probabilities of all classes, not the best species of each tile."""
        return self.species_list is not None or self.rule.needs_all_classes


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


_SWEEP_GRID: dict[str, Any] = {
    "argmax_union": {},
    "topk_union": {"top_per_tile": [2, 3, 5], "min_score": ["none", 0.1, 0.3], "min_species": [1]},
    "max": {"species_per_plot": [1, 2, 3, 4, 5, 6, 7, 8, 9]},
    "mean": {"species_per_plot": [1, 2, 3, 4, 5, 6, 7, 8, 9]},
    "threshold": {"min_score": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7], "min_species": [1]},
    "vote": {"min_votes": [1, 2, 3], "min_species": [1]},
    "bisection": {"mean_species_per_plot": [2, 2.5, 3, 3.5, 4, 4.5, 5], "scored_by": ["max", "mean"]},
    "bayesian": {"min_z": ["none", 2, 4, 8], "species_per_plot": [2, 3, 4, 5, 7], "min_species": [1]},
    "prior": ["none", "frequency", "region"],
    "prior_power": [0.5, 1],
}
"""Rules that teams have reported, around the numbers that were best: two to four species a plot."""


class SweepSettings(BaseModel):
    """Which rules a sweep tries: every combination of a grid (see `scoring/sweep.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: dict[str, Any] = _SWEEP_GRID

    @field_validator("grid")
    @classmethod
    def _check_grid(cls, value: dict[str, Any]) -> dict[str, Any]:
        expand_grid(value)
        return value

    @property
    def rules(self) -> list[Rule]:
        """The rules of the grid."""
        return expand_grid(self.grid)


class CoverSettings(BaseModel):
    """When a tile shows a species (see `scoring/cover.py`); the defaults are those of Pl@ntNet's survey service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str | None = None
    """The run whose feature set and tiling tell the cover; if not set, the last one that cuts plots."""
    min_score: float = Field(default=0.1, ge=0, le=1)
    max_rank: PositiveInt = 1


class ClassifierSettings(BaseModel):
    """How a classifier is trained; what each name means is said in `learning/training_config.py`.

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


class ValidationSettings(BaseModel):
    """The plots that are composed of held-out photographs, to choose settings by (see `ingest/validation_plots.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plots: NonNegativeInt = 48
    """0 switches them off."""
    shards: PositiveInt = 2
    side: int = Field(default=1024, ge=64, le=8192)
    species: tuple[PositiveInt, PositiveInt] = (2, 8)

    @model_validator(mode="after")
    def _check_shards_and_species(self) -> Self:
        if self.plots and self.shards > self.plots:
            raise ValueError(f"{self.shards} shards of {self.plots} plots would leave some empty; set fewer shards")
        least, most = self.species
        if least > most:
            raise ValueError(
                f"species is [{least}, {most}], but the first is the least number on a plot, so the smaller"
            )
        return self

    @property
    def shard_keys(self) -> tuple[str, ...]:
        """The keys of their shards."""
        return tuple(shard_keys(self.shards))


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


def check_runs(runs: dict[str, RunSettings], classifiers: Mapping[str, ClassifierSettings]) -> dict[str, RunSettings]:
    """Give the runs that are declared.

    Raises:
        ValueError: a name cannot be one of a file, or a feature set is unknown.
    """
    known = (*TRAINED_FEATURE_SETS, *classifiers)
    for name, run in runs.items():
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise ValueError(f"the run name '{name}' may only have lower-case letters, digits and '_'")
        if run.feature_set not in (*known, CHECKPOINT_HEAD):
            quoted = ", ".join(f"'{one}'" for one in known)
            raise ValueError(
                f"the run '{name}' asks for the feature set '{run.feature_set}'; there are {quoted} or "
                f"'{CHECKPOINT_HEAD}'"
            )
    return runs
