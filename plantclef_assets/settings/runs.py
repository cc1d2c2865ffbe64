"""Tables of runs: what answers plots, which rules a sweep tries, and when a tile shows a species."""

import re
from collections.abc import Collection
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from plantclef_assets.images.tiling import parse_tiling
from plantclef_assets.ingest.locations import check_readable
from plantclef_assets.lake.keys import CHECKPOINT_HEAD, TRAINED_FEATURE_SETS
from plantclef_assets.scoring.rules import Rule, check_rule
from plantclef_assets.scoring.sweep import expand_grid

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


def check_runs(runs: dict[str, RunSettings], classifiers: Collection[str]) -> dict[str, RunSettings]:
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
