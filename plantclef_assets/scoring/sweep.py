"""Sweeps: many rules over one survey, scored on plots that did not choose them.

What belongs here: which rules a declared grid gives, which plots choose and which report, and the rows that come of
it. What does not: where probabilities and truths come from.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from plantclef_assets.scoring.aggregation import Answers, check_names, check_value
from plantclef_assets.scoring.metrics import score_submission
from plantclef_assets.scoring.priors import PRIORS
from plantclef_assets.scoring.revisits import REVISITS, place_of
from plantclef_assets.scoring.rules import Rule, check_power, check_rule

UNSET = "none"
"""In a grid: the parameter is not set, there is no prior, or revisits are not fused."""
HALVES = ("choose", "report")
_AROUND = {"prior": PRIORS, "prior_power": (), "revisits": REVISITS}
"""What is crossed with every aggregation, with the words that it may be."""

Grid = Mapping[str, Any]
"""Aggregation → parameter → values; beside these `prior`, `prior_power` and `revisits` → values."""


def expand_grid(grid: Grid) -> list[Rule]:
    """Give every rule of a grid that can be, each once, in the order of the declaration.

    Combinations that contradict themselves (`min_species` above `species_per_plot`) are left out; so are powers where
    there is no prior.

    Raises:
        ValueError: an unknown name, an impossible value, something that is no list of values, or an aggregation of
            which no combination can be.
    """
    priors, powers, revisits = (_around(name, grid) for name in _AROUND)
    rules: dict[tuple[Any, ...], Rule] = {}
    for aggregation in (name for name in grid if name not in _AROUND):
        parameters = _parameters(aggregation, grid[aggregation])
        for own, prior, power, fusion in product(parameters, priors, powers, revisits):
            rule = Rule(aggregation, own, fusion, prior, 1.0 if prior is None else power)
            check_rule(rule)
            rules.setdefault((aggregation, *own.items(), fusion, prior, rule.prior_power), rule)
    return list(rules.values())


def halves(plot_ids: Iterable[str]) -> dict[str, list[str]]:
    """Divide plots into `HALVES` of equally many places: one to choose a rule by, one to report how good it is.

    Places are ordered by a hash of their names, so that the cut knows nothing of regions; all visits to a place are on
    one side. Of an odd number of places the last one is in the first half.
    """
    plots = sorted(plot_ids)
    places = sorted({place_of(plot) for plot in plots}, key=lambda place: hashlib.sha256(place.encode()).digest())
    first = set(places[: -(-len(places) // 2)])
    sides = ([plot for plot in plots if place_of(plot) in first], [p for p in plots if place_of(p) not in first])
    return dict(zip(HALVES, sides, strict=True))


def sweep_rows(
    rules: Sequence[Rule],
    answers: Sequence[Answers | None],
    truth: Mapping[str, Iterable[int]],
    *,
    feature_set: str,
    tiling: str,
    parts: Mapping[str, Collection[str]],
    transects: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Score the answers by rules over parts of a survey: one row for every rule and part, in this order.

    Args:
        rules: the rules.
        answers: plot_id → species_ids by each of them (see `answer_rules`); None where a rule could not be met.
        truth: plot_id → species_ids.
        feature_set: what was classified.
        tiling: how plots were cut.
        parts: name → plot_ids: those of `halves`, or all plots of another survey under its name. Plots without a truth
            are left out.
        transects: as in `score_submission`.

    Returns:
        `feature_set`, `tiling`, `rule` (in words), `aggregation`, `parameters` (JSON: those of the aggregation, and
        `prior`, `prior_power` and `revisits` where set), `part`, and the scores, which are None where the rule could
        not be met or a part has no plot with a truth.

    Raises:
        ValueError: a plot that has a truth was not answered.
    """
    known = {part: {plot: truth[plot] for plot in plots if plot in truth} for part, plots in parts.items()}
    rows = []
    for rule, said in zip(rules, answers, strict=True):
        for part, own in known.items():
            row = {
                "feature_set": feature_set,
                "tiling": tiling,
                "rule": rule.label,
                "aggregation": rule.aggregation,
                "parameters": json.dumps(_settings_of(rule)),
                "part": part,
            }
            scores = dict.fromkeys(("f1_plot", "f1_transect", "f1_species", "f1_micro", "species_per_plot"))
            row |= scores | {"plots": len(own)}
            if said is not None and own:
                row |= score_submission(said, own, transects=transects).to_dict()
            rows.append(row)
    return rows


def _settings_of(rule: Rule) -> dict[str, Any]:
    """Give what a run would have to declare, besides its feature set, tiling and aggregation."""
    prior = {"prior": rule.prior, "prior_power": rule.prior_power} if rule.prior else {}
    return {**rule.parameters, **prior, **({"revisits": rule.revisits} if rule.revisits else {})}


def _parameters(aggregation: str, table: Any) -> list[dict[str, Any]]:
    """Give the combinations of an aggregation's parameters that can be."""
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


def _around(name: str, grid: Grid) -> list[Any]:
    """Give the values of what is crossed with every aggregation; None for what is not set."""
    values = _values(name, grid.get(name, [UNSET if _AROUND[name] else 1.0]))
    unknown = [value for value in values if _AROUND[name] and value not in (*_AROUND[name], UNSET)]
    if unknown:
        raise ValueError(f"unknown {name} {unknown[0]!r}: say some of {', '.join((*_AROUND[name], UNSET))}")
    for value in values:
        if not _AROUND[name]:
            check_power(value)
    return [None if value == UNSET else value for value in values]


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable) or not (several := list(values)):
        raise ValueError(f"{name} is {values!r}; in a grid it must be a list of values")
    return several
