"""Settings of plots: their predictions, runs, sweep and cover, and the plots that are composed for validation."""

import re
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.settings.loading import FromProfile
from plantclef_assets.settings.presets import PRESETS, check_presets
from plantclef_assets.settings.runs import CoverSettings, RunSettings, SweepSettings, check_runs


class ValidationSettings(BaseModel):
    """Plots that are composed of held-out photographs, to compare settings on (see `ingest/validation_plots.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plots: NonNegativeInt = Field(default=48, description="Number of composed plots; 0: none.")
    shards: PositiveInt = Field(default=2, description="Number of shards of composed plots.")
    side: int = Field(
        default=1024, ge=64, le=8192, description="Side of a composed plot.", json_schema_extra={"unit": "px"}
    )
    species: tuple[PositiveInt, PositiveInt] = Field(
        default=(2, 8), description="Smallest and largest number of species on a plot."
    )

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


class Plots(FromProfile):
    """Plots, runs and validation."""

    top_k: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Number of most probable species of each tile that `tile_predictions` stores.",
        json_schema_extra={"unit": "species"},
    )
    dialect: Literal["2024", "2025"] = Field(
        default="2025",
        description="Submission format of `<run>.csv`; the file in the other format is written beside it.",
    )
    validation: ValidationSettings = Field(default=ValidationSettings(), description="Composed validation plots.")
    runs: dict[str, RunSettings] = Field(
        default_factory=dict,
        description="Runs by name, which are the rows of the leaderboard (see [runs](runs.md)). A variable adds to the "
        "runs of the profile.",
    )
    sweep: SweepSettings = Field(default=SweepSettings(), description="Rules that the sweep tries.")
    cover: CoverSettings = Field(default=CoverSettings(), description="How the cover of species is computed.")
    presets: tuple[str, ...] = Field(
        default=(),
        description=f"Published rules that are added as runs: {', '.join(f'`{name}`' for name in PRESETS)} (see "
        "[runs](runs.md#rules-of-later-teams)).",
    )
    report_title: str = Field(
        default="Species of the vegetation plots", max_length=200, description="Title of the report."
    )
    rank_precision: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Precision on validation photographs that the report requires before it trusts a species; "
        "otherwise it names a genus or a family.",
    )
    transect_patterns: tuple[str, ...] = Field(
        default=(),
        description="Regular expressions for names of plots; the first group is the transect. If none matches, the "
        "transect is the name without its last `-…` part.",
    )
    region_patterns: tuple[str, ...] = Field(
        default=(),
        description="Regular expressions for names of plots; the first group is the region, for the prior `region`. If "
        "none matches, the region is the first `-…` part of the name.",
    )

    @field_validator("runs")
    @classmethod
    def _check_runs(cls, value: dict[str, RunSettings], info: ValidationInfo) -> dict[str, RunSettings]:
        # A faulty `classifiers` is missing here and is reported itself.
        return check_runs(value, info.data["classifiers"]) if "classifiers" in info.data else value

    @field_validator("presets")
    @classmethod
    def _check_presets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_presets(value)
        return value

    @field_validator("transect_patterns", "region_patterns")
    @classmethod
    def _check_patterns(cls, value: tuple[str, ...], field: ValidationInfo) -> tuple[str, ...]:
        what = str(field.field_name).removesuffix("_patterns")
        for pattern in value:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"'{pattern}' is no regular expression: {error}") from error
            if not groups:
                raise ValueError(f"'{pattern}' needs a group (…) that names the {what}")
        return value
