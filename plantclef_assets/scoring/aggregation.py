"""From what was seen in the tiles of a plot to the list of its species.

An aggregation scores the species of each plot (`species_scores.py`), may fuse the visits to a place (`revisits.py`),
and chooses from the scores (`selection.py`), where it may look at all plots at once. It is an entry of `AGGREGATIONS`;
a new one is a scoring function and a line of that table, with the parameters that a run may set. Some are only right
over the probabilities of all classes; the table says which.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from plantclef_assets.scoring.revisits import REVISITS, mean_of_visits, union_of_visits, vote_of_visits
from plantclef_assets.scoring.selection import Selection, select_all
from plantclef_assets.scoring.species_scores import (
    SCORED_BY,
    SpeciesScores,
    TileProbabilities,
    argmax_union,
    bayesian,
    maximum,
    mean,
    topk_union,
    vote,
)
from plantclef_assets.scoring.top_species import top_species

Answers = dict[str, list[int]]
"""plot_id → species_ids, best first."""


@dataclass(frozen=True)
class Aggregation:
    """How the species of a plot are scored, and which parameters this and the choice from the scores take."""

    score: Callable[..., SpeciesScores] | None
    """None where the parameter `scored_by` names the function."""
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    needs_one_of: tuple[str, ...] = ()


AGGREGATIONS: dict[str, Aggregation] = {
    "argmax_union": Aggregation(argmax_union),
    "bayesian": Aggregation(
        bayesian,
        takes=("species_per_plot", "min_species", "min_score", "min_z"),
        needs_one_of=("species_per_plot", "min_score", "min_z"),
    ),
    "bisection": Aggregation(None, ("mean_species_per_plot",), ("scored_by", "species_per_plot", "min_species")),
    "max": Aggregation(maximum, ("species_per_plot",), ("min_species", "min_score", "min_z")),
    "mean": Aggregation(mean, ("species_per_plot",), ("min_species", "min_score", "min_z")),
    "threshold": Aggregation(maximum, ("min_score",), ("species_per_plot", "min_species")),
    "topk_union": Aggregation(topk_union, ("top_per_tile",), ("species_per_plot", "min_species", "min_score")),
    "vote": Aggregation(vote, (), ("min_votes", "species_per_plot", "min_species", "min_score")),
}
"""Name in the settings → aggregation. `threshold` takes the maximum over the tiles where it reaches `min_score`;
`bisection` does so with the score that gives a mean number of species."""

_OVER_ALL_CLASSES = (mean, bayesian)
"""What each class adds to, however improbable it is."""


@dataclass(frozen=True)
class Scorer:
    """A scoring function with its parameters; equal ones give equal scores, so that scores can be shared."""

    score: Callable[..., SpeciesScores]
    parameters: tuple[tuple[str, Any], ...] = ()

    def __call__(self, tiles: TileProbabilities) -> SpeciesScores:
        """Score the species of one plot."""
        return self.score(tiles, **dict(self.parameters))


def check_aggregation(aggregation: str, parameters: Mapping[str, Any], revisits: str | None = None) -> None:
    """Check a name and its parameters before any work starts.

    Raises:
        ValueError: the aggregation is unknown, or it has no such parameter, or one of its parameters is missing, or has
            an impossible value, or contradicts another; or the fusion of revisits is unknown.
    """
    check_names(aggregation, parameters)
    rule = AGGREGATIONS[aggregation]
    missing = sorted(set(rule.needs) - parameters.keys())
    if missing:
        raise ValueError(f"aggregation {aggregation!r} takes {_accepted(aggregation)}; missing is {', '.join(missing)}")
    if rule.needs_one_of and not set(rule.needs_one_of) & parameters.keys():
        raise ValueError(f"aggregation {aggregation!r} scores every species: set one of {', '.join(rule.needs_one_of)}")
    for name, value in parameters.items():
        check_value(name, value)
    _check_limits(parameters)
    if revisits is not None and revisits not in REVISITS:
        raise ValueError(f"unknown fusion of revisits {revisits!r}: say one of {', '.join(REVISITS)}")


def check_names(aggregation: str, parameters: Iterable[str]) -> None:
    """Check that there is such an aggregation, and that it takes parameters of these names.

    Raises:
        ValueError: it is unknown, or one of them is; the message says what is missing too.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}: say one of {', '.join(sorted(AGGREGATIONS))}")
    needs, takes = AGGREGATIONS[aggregation].needs, AGGREGATIONS[aggregation].takes
    names = set(parameters)
    unknown, missing = sorted(names - {*needs, *takes}), sorted(set(needs) - names)
    if unknown:
        raise ValueError(
            f"aggregation {aggregation!r} takes {_accepted(aggregation)}; not {', '.join(unknown)}"
            + (f"; missing is {', '.join(missing)}" if missing else "")
        )


def check_value(name: str, value: Any) -> None:
    """Check the value of one parameter.

    Raises:
        ValueError: it is impossible.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if name == "scored_by":
        if value not in SCORED_BY:
            raise ValueError(f"scored_by is {value!r}; it must be one of {', '.join(SCORED_BY)}")
    elif name == "min_score":
        if not is_number or not 0 < value <= 1:
            raise ValueError(f"min_score is {value!r}; it must be a number above 0 and at most 1")
    elif name in ("mean_species_per_plot", "min_z"):
        if not is_number or value <= 0:
            raise ValueError(f"{name} is {value!r}; it must be a number above 0")
    elif not is_number or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")


def needs_all_classes(aggregation: str, parameters: Mapping[str, Any]) -> bool:
    """Whether an aggregation is only right over the probabilities of all classes, not over the best of each tile."""
    return "min_z" in parameters or scorer_of(aggregation, parameters).score in _OVER_ALL_CLASSES


def scorer_of(aggregation: str, parameters: Mapping[str, Any]) -> Scorer:
    """Give the scoring function of an aggregation with those of its parameters that are the function's."""
    score = AGGREGATIONS[aggregation].score or SCORED_BY[parameters.get("scored_by", "max")]
    return Scorer(score, tuple((name, parameters[name]) for name in _of_score(score) if name in parameters))


def choose_species(
    survey: Mapping[str, SpeciesScores],
    aggregation: str,
    parameters: Mapping[str, Any],
    revisits: str | None = None,
) -> Answers:
    """Choose the species of every plot from their scores by the scorer of this aggregation.

    Args:
        survey: plot_id → scores.
        aggregation: a name of `AGGREGATIONS`.
        parameters: its parameters by name.
        revisits: how the visits to a place are fused, one of `REVISITS`; each plot stands alone if not given.

    Returns:
        the species of each plot, equal ones by species_id, with the plots in their order.

    Raises:
        ValueError: a mean number of species cannot be met.
    """
    of_score = {name for name, _ in scorer_of(aggregation, parameters).parameters} | {"scored_by"}
    selection = Selection(**{name: value for name, value in parameters.items() if name not in of_score})
    if revisits == "mean":
        survey = mean_of_visits(survey)
    answers = select_all(survey, selection)
    if revisits == "union":
        answers = union_of_visits(answers)
    elif revisits == "vote":
        answers = vote_of_visits(answers, min_species=selection.min_species)
    return {plot: answer.species_id.tolist() for plot, answer in answers.items()}


def aggregate(
    predictions: pa.Table,
    aggregation: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    revisits: str | None = None,
) -> Answers:
    """Aggregate a table of tile predictions (see `top_species`), which holds the best species of each tile.

    Returns:
        the species of each plot, with the plots in the order in which they first appear.

    Raises:
        ValueError: as `check_aggregation`, `top_species` and `choose_species`.
    """
    parameters = parameters or {}
    check_aggregation(aggregation, parameters, revisits)
    score = scorer_of(aggregation, parameters)
    survey = {plot: score(tiles) for plot, tiles in top_species(predictions)}
    return choose_species(survey, aggregation, parameters, revisits)


def _accepted(aggregation: str) -> str:
    return ", ".join((*AGGREGATIONS[aggregation].needs, *AGGREGATIONS[aggregation].takes)) or "no parameters"


def _of_score(score: Callable[..., SpeciesScores]) -> tuple[str, ...]:
    """Give the names of a scoring function's own parameters."""
    return tuple(inspect.signature(score).parameters)[1:]


def _check_limits(parameters: Mapping[str, Any]) -> None:
    """Check that what is asked for in the mean lies between the least and the most, and these not across."""
    least, most = parameters.get("min_species", 0), parameters.get("species_per_plot", math.inf)
    in_the_mean = parameters.get("mean_species_per_plot")
    if least > most:
        raise ValueError(f"min_species ({least}) is more than species_per_plot ({most})")
    if in_the_mean is not None and not least <= in_the_mean <= most:
        raise ValueError(
            f"mean_species_per_plot ({in_the_mean:g}) must not be less than min_species or more than species_per_plot"
        )
