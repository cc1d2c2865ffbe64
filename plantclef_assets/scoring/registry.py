"""The registry of aggregations: what one is, which parameters it has, and how a run's choice of them is checked.

An aggregation is a function from the tile probabilities of one plot to the scores of its species, registered by
`@aggregation`. The decorator names the limits (`Selection`) that a run may set on the scores; the function's own
parameters are declared in its signature, as `Annotated[int, Parameter(…)]`. Runs, grids and the settings reference
follow from the registry. What does not belong here: the published aggregations (`aggregations.py`).
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np


@dataclass(frozen=True)
class SpeciesScores:
    """The species of one plot, best first, each once.

    Attributes:
        species_id: int64.
        score: float64, descending.
        passes: bool, whether the aggregation accepts the species; the others may only fill a list that is too short.
    """

    species_id: np.ndarray
    score: np.ndarray
    passes: np.ndarray

    def __len__(self) -> int:
        return len(self.species_id)

    def take(self, rows: np.ndarray) -> "SpeciesScores":
        """Return some of the species."""
        return SpeciesScores(self.species_id[rows], self.score[rows], self.passes[rows])


def ranked(
    species_id: np.ndarray,
    score: np.ndarray,
    passes: np.ndarray | None = None,
    second: np.ndarray | None = None,
) -> SpeciesScores:
    """Order species by score, descending; ties by the second score, if there is one, then by species_id."""
    keys = (species_id, -score) if second is None else (species_id, -second, -score)
    passes = np.ones(len(species_id), bool) if passes is None else passes
    return SpeciesScores(species_id, score.astype(np.float64), passes).take(np.lexsort(keys))


@dataclass(frozen=True)
class Parameter:
    """Meaning and bounds of a parameter, in the annotation that declares it.

    Attributes:
        meaning: a sentence without its full stop.
        least: the lowest value.
        above: the bound that a number must exceed.
        most: the highest value of a number.
        kind: int, float, or a `Literal` of the accepted words; taken from the annotation.
    """

    meaning: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    kind: Any = float

    def check(self, name: str, value: Any) -> None:
        """Check a value.

        Raises:
            ValueError: it is of another type or out of bounds.
        """
        if get_origin(self.kind) is Literal:
            wanted, valid = f"one of {', '.join(get_args(self.kind))}", value in get_args(self.kind)
        else:
            bounds = [("of at least", self.least), ("above", self.above), ("at most", self.most)]
            limits = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
            wanted = f"a {'whole ' if self.kind is int else ''}number {limits}"
            valid = isinstance(value, int if self.kind is int else int | float) and not isinstance(value, bool)
            valid = valid and math.isfinite(value)
            valid = valid and (self.least is None or value >= self.least) and (self.above is None or value > self.above)
            valid = valid and (self.most is None or value <= self.most)
        if not valid:
            raise ValueError(f"{name} is {value!r}; it must be {wanted}")


def declared_parameters(declaring: Any) -> dict[str, Parameter]:
    """Return the parameters that a function or a dataclass declares in its annotations."""
    found = {}
    for name, hint in get_type_hints(declaring, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, parameter = get_args(hint)
            if NoneType in get_args(kind):  # int | None
                kind = next(one for one in get_args(kind) if one is not NoneType)
            found[name] = replace(parameter, kind=kind)
    return found


@dataclass(frozen=True)
class Selection:
    """Limits on the species list of a plot, chosen from the scores of any aggregation."""

    species_per_plot: Annotated[
        int | None, Parameter("Maximum number of species of a plot; the best are kept", least=1)
    ] = None
    min_species: Annotated[
        int, Parameter("Minimum number of species of a plot; the next-best ones fill a list that is too short", least=1)
    ] = 0
    min_score: Annotated[
        float | None, Parameter("Lowest score of a species, except those that min_species adds", above=0, most=1)
    ] = None
    min_z: Annotated[
        float | None,
        Parameter(
            "Number of standard deviations by which a score must exceed the mean score of the plot's species, "
            "except those that min_species adds",
            above=0,
        ),
    ] = None
    mean_species_per_plot: Annotated[
        float | None,
        Parameter(
            "Mean number of species over all plots; one lowest score for all plots is chosen to give it", above=0
        ),
    ] = None


LIMITS = declared_parameters(Selection)


@dataclass(frozen=True)
class Scorer:
    """A scoring function with its parameters; equal scorers return equal scores, so their scores are shared."""

    score: Callable[..., SpeciesScores]
    parameters: tuple[tuple[str, Any], ...] = ()
    all_classes: bool = False

    def __call__(self, tiles: Any) -> SpeciesScores:
        """Score the species of one plot from its `TileProbabilities`."""
        return self.score(tiles, **dict(self.parameters))


@dataclass(frozen=True)
class Aggregation:
    """One entry of the registry.

    Attributes:
        score: TileProbabilities → SpeciesScores.
        own: the parameters of `score`.
        needs: names of the parameters that a run must set.
        takes: names of those that it may set.
        needs_one_of: of these it must set one at least.
        all_classes: whether the score is only right over the probabilities of all classes.
        sweep: the values that the default sweep tries, by parameter. None leaves the aggregation out of it, and
            existing sweeps up to date.
    """

    score: Callable[..., SpeciesScores]
    own: Mapping[str, Parameter]
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    needs_one_of: tuple[str, ...] = ()
    all_classes: bool = False
    sweep: Mapping[str, list[Any]] | None = None

    @property
    def accepted(self) -> str:
        """The names of its parameters, those that it needs first."""
        return ", ".join((*self.needs, *self.takes)) or "no parameters"

    def scorer(self, parameters: Mapping[str, Any]) -> Scorer:
        """Return the scoring function with those parameters that are its own."""
        if "scored_by" in self.own:  # its scores are those of another aggregation, and shared with it
            default = inspect.signature(self.score).parameters["scored_by"].default
            return AGGREGATIONS[parameters.get("scored_by", default)].scorer({})
        own = tuple((name, parameters[name]) for name in self.own if name in parameters)
        return Scorer(self.score, own, self.all_classes)


AGGREGATIONS: dict[str, Aggregation] = {}
"""Name in the settings → aggregation, in the order of registration."""


def aggregation(
    name: str | None = None,
    *,
    needs: Iterable[str] = (),
    takes: Iterable[str] = (),
    needs_one_of: Iterable[str] = (),
    all_classes: bool = False,
    sweep: Mapping[str, list[Any]] | None = None,
) -> Callable[[Callable[..., SpeciesScores]], Callable[..., SpeciesScores]]:
    """Register the decorated function as an aggregation.

    Args:
        name: its name in the settings, if not that of the function.
        needs: names of the limits (`Selection`) that a run must set, besides the function's own required parameters.
        takes: names of the limits that a run may set, besides the function's own optional parameters.
        needs_one_of: names of the limits of which a run must set one at least.
        all_classes: see `Aggregation`.
        sweep: see `Aggregation`.
    """

    def register(score: Callable[..., SpeciesScores]) -> Callable[..., SpeciesScores]:
        own = declared_parameters(score)
        defaults = {one.name: one.default for one in inspect.signature(score).parameters.values()}
        required = [one for one in own if defaults[one] is inspect.Parameter.empty]
        entry = Aggregation(
            score,
            own,
            (*required, *needs),
            (*(one for one in own if one not in required), *takes),
            tuple(needs_one_of),
            all_classes,
            sweep,
        )
        key = name or score.__name__
        _check_entry(key, entry)
        AGGREGATIONS[key] = entry
        return score

    return register


def all_parameters() -> dict[str, Parameter]:
    """Return every parameter that an aggregation has: the limits, then those of scoring functions."""
    return LIMITS | {name: one for entry in AGGREGATIONS.values() for name, one in entry.own.items()}


def check_aggregation(name: str, parameters: Mapping[str, Any]) -> None:
    """Check a name and its parameters before any work starts.

    Raises:
        ValueError: the aggregation is unknown, or has no such parameter, or a parameter is missing, has an impossible
            value or contradicts another.
    """
    check_names(name, parameters)
    entry = AGGREGATIONS[name]
    missing = sorted(set(entry.needs) - parameters.keys())
    if missing:
        raise ValueError(f"aggregation {name!r} takes {entry.accepted}; missing: {', '.join(missing)}")
    if entry.needs_one_of and not set(entry.needs_one_of) & parameters.keys():
        raise ValueError(f"aggregation {name!r} scores every species: set one of {', '.join(entry.needs_one_of)}")
    for one, value in parameters.items():
        check_value(one, value)
    least, most = parameters.get("min_species", 0), parameters.get("species_per_plot", math.inf)
    mean = parameters.get("mean_species_per_plot")
    if least > most:
        raise ValueError(f"min_species ({least}) is more than species_per_plot ({most})")
    if mean is not None and not least <= mean <= most:
        raise ValueError(
            f"mean_species_per_plot ({mean:g}) must not be less than min_species or more than species_per_plot"
        )


def check_names(name: str, parameters: Iterable[str]) -> None:
    """Check the name of an aggregation and the names of its parameters.

    Raises:
        ValueError: one is unknown; the message names missing parameters too.
    """
    if name not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {name!r}: use one of {', '.join(sorted(AGGREGATIONS))}")
    entry = AGGREGATIONS[name]
    names = set(parameters)
    unknown, missing = sorted(names - {*entry.needs, *entry.takes}), sorted(set(entry.needs) - names)
    if unknown:
        raise ValueError(
            f"aggregation {name!r} takes {entry.accepted}; not {', '.join(unknown)}"
            + (f"; missing: {', '.join(missing)}" if missing else "")
        )


def check_value(name: str, value: Any) -> None:
    """Check the value of a parameter.

    Raises:
        ValueError: it is impossible.
    """
    all_parameters()[name].check(name, value)


def aggregation_reference() -> list[dict[str, str]]:
    """Return one row per aggregation for documentation: name, score of a species, needed and optional parameters."""
    return [
        {
            "aggregation": name,
            "score": (inspect.getdoc(entry.score) or "").partition("\n")[0],
            "needs": ", ".join(entry.needs) or " or ".join(entry.needs_one_of),
            "takes": ", ".join(one for one in entry.takes if one not in entry.needs_one_of),
        }
        for name, entry in AGGREGATIONS.items()
    ]


def _check_entry(name: str, entry: Aggregation) -> None:
    """Raise ValueError where an aggregation cannot be registered."""
    if name in AGGREGATIONS:
        raise ValueError(f"there is already an aggregation {name!r}")
    unknown = {*entry.needs, *entry.takes, *entry.needs_one_of} - {*LIMITS, *entry.own}
    if unknown:
        raise ValueError(f"aggregation {name!r}: {', '.join(sorted(unknown))} is not a limit or one of its parameters")
    known = all_parameters()
    clashing = [one for one, parameter in entry.own.items() if known.get(one, parameter) != parameter]
    if clashing:
        raise ValueError(f"aggregation {name!r}: another meaning of {', '.join(clashing)} is registered already")
