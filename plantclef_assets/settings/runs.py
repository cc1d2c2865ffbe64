"""Tables of runs: rows of the leaderboard, the grid of the sweep, and the cover of species."""

import re
from collections.abc import Collection
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from plantclef_assets.images.tiling import parse_tiling
from plantclef_assets.ingest.locations import check_readable
from plantclef_assets.models.feature_sets import FEATURE_SETS, TRAINED
from plantclef_assets.scoring.aggregations import AGGREGATIONS
from plantclef_assets.scoring.priors import PRIORS
from plantclef_assets.scoring.registry import Parameter, all_parameters
from plantclef_assets.scoring.rules import Rule, check_rule, default_grid, expand_grid


class _Aggregated(BaseModel):
    """A feature set × a tiling × an aggregation, without the parameters of the aggregation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feature_set: str = Field(
        description="Feature set whose classifier predicts, or the name of an additional classifier."
    )
    tiling: str = Field(default="full", description="How plots are cut into tiles; `full` is the whole plot.")
    aggregation: str = Field(
        default="argmax_union",
        description="How the tiles of a plot become one list of species (see [aggregations](#aggregations)): "
        f"{', '.join(sorted(AGGREGATIONS))}.",
    )


def _field(name: str, parameter: Parameter) -> tuple[Any, Any]:
    """Return type and field of a parameter of aggregations."""
    takers = sorted(one for one, entry in AGGREGATIONS.items() if name in (*entry.needs, *entry.takes))
    field = Field(
        default=None,
        description=f"{parameter.meaning} ({', '.join(takers)}).",
        ge=parameter.least,
        gt=parameter.above,
        le=parameter.most,
        allow_inf_nan=False if parameter.kind is float else None,
    )
    return parameter.kind | None, field


# The parameters are declared with their aggregations. Any: a type checker cannot know their names.
_FIELDS: dict[str, Any] = {name: _field(name, one) for name, one in all_parameters().items()}
_Parametrised: Any = create_model("_Parametrised", __base__=_Aggregated, **_FIELDS)


class RunSettings(_Parametrised):
    """One row of the leaderboard: a feature set × a tiling × an aggregation with its parameters."""

    prior: str | None = Field(
        default=None,
        description="Prior that multiplies the probabilities of every tile before the aggregation: "
        f"{', '.join(PRIORS)}, or none.",
    )
    prior_power: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Exponent of the prior; 1 if not set."
    )
    species_list: str | None = Field(
        default=None,
        description="File with the species that may be predicted; no others are. A CSV with the column species_id, or "
        "one id per line.",
    )
    revisits: Literal["union", "vote", "mean"] | None = Field(
        default=None,
        description="How the visits to a place are combined: mean averages the scores, union and vote combine the "
        "lists. A place is the name of a plot without its date.",
    )

    @field_validator("prior", mode="before")
    @classmethod
    def _check_prior(cls, value: Any) -> Any:
        if value not in (*PRIORS, "none", None):
            raise ValueError(f"unknown prior {value!r}: use one of {', '.join(PRIORS)}, or none")
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
    def _without_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out parameters that are not set, so that a new one leaves the provenance of other runs unchanged."""
        # `species_per_plot` was there before this rule.
        return {name: value for name, value in dump(self).items() if value is not None or name == "species_per_plot"}

    @property
    def cuts_plots(self) -> bool:
        """Whether its tiling cuts a plot into more than one tile."""
        return parse_tiling(self.tiling).tiles != 1

    @property
    def rule(self) -> Rule:
        """The rule that turns probabilities into lists; a list of species is not a part of it."""
        values = {name: getattr(self, name) for name in all_parameters()}
        parameters = {name: value for name, value in values.items() if value is not None}
        power = 1.0 if self.prior_power is None else self.prior_power
        return Rule(self.aggregation, parameters, self.revisits, self.prior, power)

    @property
    def needs_all_classes(self) -> bool:
        """Whether it reads the probabilities of all classes, not the best species of each tile."""
        return self.species_list is not None or self.rule.needs_all_classes


class SweepSettings(BaseModel):
    """The rules that a sweep tries: every combination of a grid (see `scoring/rules.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: dict[str, Any] = Field(
        default_factory=default_grid,
        description="Aggregation → parameter → values. Every combination is tried, also with the values of prior, "
        "prior_power and revisits. The value none leaves a parameter unset. The default has rules that teams have "
        "reported, with two to four species per plot at its centre.",
    )

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

    run: str | None = Field(
        default=None,
        description="Run whose feature set and tiling are used for the cover; not set: the last run that cuts plots "
        "into tiles.",
    )
    min_score: float = Field(
        default=0.1, ge=0, le=1, description="Lowest probability (inclusive) of a species that a tile shows."
    )
    max_rank: PositiveInt = Field(default=1, description="Maximum number of species that a tile shows.")


def check_runs(runs: dict[str, RunSettings], classifiers: Collection[str]) -> dict[str, RunSettings]:
    """Return the declared runs.

    Raises:
        ValueError: a name cannot be that of a file, or a feature set is unknown.
    """
    of_checkpoint = [one.name for one in FEATURE_SETS if one.from_checkpoint]
    known = [*TRAINED, *classifiers, *of_checkpoint]
    for name, run in runs.items():
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise ValueError(f"the run name '{name}' may only have lower-case letters, digits and '_'")
        if run.feature_set not in known:
            quoted = ", ".join(f"'{one}'" for one in known[:-1])
            raise ValueError(f"the run '{name}' has the feature set '{run.feature_set}'; use {quoted} or '{known[-1]}'")
    return runs
