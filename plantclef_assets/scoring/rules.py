"""Rules, runs and grids of rules: what decides how the tile probabilities of a survey become lists of species."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from plantclef_assets.scoring.aggregations import AGGREGATIONS
from plantclef_assets.scoring.priors import PRIORS
from plantclef_assets.scoring.registry import LIMITS, Scorer, Selection, check_aggregation, check_names, check_value

REVISITS = ("union", "vote", "mean")
"""Fusions of the visits to a place: `mean` fuses scores before species are chosen, the others the lists after it."""
UNSET = "none"
"""In a grid: the parameter is not set, there is no prior, or revisits are not fused."""
Grid = Mapping[str, Any]
"""Aggregation → parameter → values; next to these `prior`, `prior_power` and `revisits` → values."""


@dataclass(frozen=True)
class Rule:
    """An aggregation with its parameters, the prior applied before it, and the fusion of revisits after it.

    Attributes:
        aggregation: a name of `AGGREGATIONS`.
        parameters: its parameters by name.
        revisits: a name of `REVISITS`; None leaves every plot on its own.
        prior: a name of `PRIORS`, if there is a prior.
        prior_power: the exponent of the prior.
    """

    aggregation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    revisits: str | None = None
    prior: str | None = None
    prior_power: float = 1.0

    @property
    def label(self) -> str:
        """The rule in words, as the leaderboard shows it."""
        values = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        parts = [f"{self.aggregation}({values})" if values else self.aggregation]
        if self.prior:
            parts.append(f"{self.prior} prior" + (f"^{self.prior_power:g}" if self.prior_power != 1 else ""))
        if self.revisits:
            parts.append(f"{self.revisits} of revisits")
        return ", ".join(parts)

    @property
    def settings(self) -> dict[str, Any]:
        """What a run declares of it, besides the name of the aggregation."""
        prior = {"prior": self.prior, "prior_power": self.prior_power} if self.prior else {}
        return {**self.parameters, **prior, **({"revisits": self.revisits} if self.revisits else {})}

    @property
    def scorer(self) -> Scorer:
        """The function that scores the species of a plot."""
        return AGGREGATIONS[self.aggregation].scorer(self.parameters)

    @property
    def selection(self) -> Selection:
        """The limits on the species list of a plot."""
        return Selection(**{name: value for name, value in self.parameters.items() if name in LIMITS})

    @property
    def needs_all_classes(self) -> bool:
        """Whether it is only right over all classes, not over the best species of each tile."""
        return self.prior is not None or "min_z" in self.parameters or self.scorer.all_classes


@dataclass(frozen=True)
class Run:
    """One row of the leaderboard: a feature set × a tiling × a rule."""

    feature_set: str
    tiling: str
    rule: Rule
    species_list: Path | None = None
    """A file of the only species that may be predicted."""

    @property
    def label(self) -> str:
        """The rule with the list of species it is limited to."""
        return f"{self.rule.label}, of {self.species_list.name}" if self.species_list else self.rule.label

    @property
    def needs_all_classes(self) -> bool:
        """Whether it reads all classes: with a list of species every tile chooses among the listed ones."""
        return self.species_list is not None or self.rule.needs_all_classes


def check_rule(rule: Rule) -> None:
    """Check a rule before any work starts.

    Raises:
        ValueError: as `check_aggregation`; or the fusion of revisits or the prior is unknown, or the exponent of the
            prior is not above 0, or is set without a prior.
    """
    check_aggregation(rule.aggregation, rule.parameters)
    if rule.revisits is not None and rule.revisits not in REVISITS:
        raise ValueError(f"unknown fusion of revisits {rule.revisits!r}: use one of {', '.join(REVISITS)}")
    if rule.prior is None and rule.prior_power != 1:
        raise ValueError(f"prior_power is {rule.prior_power:g}, but there is no prior; set one of {', '.join(PRIORS)}")
    if rule.prior is not None and rule.prior not in PRIORS:
        raise ValueError(f"unknown prior {rule.prior!r}: use one of {', '.join(PRIORS)}")
    _check_power(rule.prior_power)


def default_grid() -> dict[str, Any]:
    """Return the grid of the default sweep: the values that each aggregation declares, with and without each prior."""
    own = {name: dict(one.sweep) for name, one in AGGREGATIONS.items() if one.sweep is not None}
    return {**own, "prior": [UNSET, *PRIORS], "prior_power": [0.5, 1]}


def expand_grid(grid: Grid) -> list[Rule]:
    """Return every valid rule of a grid, each once, in the order of the declaration.

    Contradictory combinations (`min_species` above `species_per_plot`) are left out, and so are powers without a prior.

    Raises:
        ValueError: an unknown name, an impossible value, something that is not a list of values, or an aggregation
            without a valid combination.
    """
    words = {"prior": tuple(PRIORS), "revisits": REVISITS}
    priors, fusions = (_words_in(name, grid.get(name, [UNSET]), known) for name, known in words.items())
    powers = _values("prior_power", grid.get("prior_power", [1.0]))
    for power in powers:
        _check_power(power)
    rules: dict[tuple[Any, ...], Rule] = {}
    for aggregation in (name for name in grid if name not in (*words, "prior_power")):
        parameters = _combinations(aggregation, grid[aggregation])
        for own, prior, power, fusion in product(parameters, priors, powers, fusions):
            rule = Rule(aggregation, own, fusion, prior, 1.0 if prior is None else power)
            check_rule(rule)
            rules.setdefault((aggregation, *own.items(), fusion, prior, rule.prior_power), rule)
    return list(rules.values())


def _combinations(aggregation: str, table: Any) -> list[dict[str, Any]]:
    """Return the valid combinations of an aggregation's parameters."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{aggregation} is {table!r}; in a grid it must be a table of parameters with their values")
    check_names(aggregation, table)
    columns = {name: _values(name, values) for name, values in table.items()}
    for name, values in columns.items():
        for value in values:
            if value != UNSET:
                check_value(name, value)
    found, refusal = [], None
    for chosen in product(*columns.values()):
        parameters = {name: value for name, value in zip(columns, chosen, strict=True) if value != UNSET}
        try:
            check_rule(Rule(aggregation, parameters))
            found.append(parameters)
        except ValueError as error:
            refusal = refusal or error
    if refusal and not found:
        raise refusal
    return found


def _words_in(name: str, values: Any, known: tuple[str, ...]) -> list[str | None]:
    """Return the words of a list in a grid; None for `UNSET`."""
    words = _values(name, values)
    unknown = [word for word in words if word not in (*known, UNSET)]
    if unknown:
        raise ValueError(f"unknown {name} {unknown[0]!r}: use some of {', '.join((*known, UNSET))}")
    return [None if word == UNSET else word for word in words]


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable) or not (several := list(values)):
        raise ValueError(f"{name} is {values!r}; in a grid it must be a list of values")
    return several


def _check_power(power: Any) -> None:
    if isinstance(power, bool) or not isinstance(power, int | float) or not 0 < power < math.inf:
        raise ValueError(f"prior_power is {power!r}; it must be a number above 0")
