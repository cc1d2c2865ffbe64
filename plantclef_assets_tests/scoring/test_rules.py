"""Rules, and grids of rules."""

import json

import pytest

from plantclef_assets.scoring.rules import Rule, check_rule, expand_grid

GRID = {
    "max": {"species_per_plot": [1, 3], "min_species": ["none", 2]},
    "vote": {"min_votes": [1, 2], "min_species": [1]},
    "bisection": {"mean_species_per_plot": [2, 2.0, 3], "scored_by": ["mean"]},
    "bayesian": {"min_z": [1], "min_species": [1]},
    "prior": ["none", "frequency", "region"],
    "prior_power": [0.5, 1],
    "revisits": ["none", "mean"],
}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule("vote", prior="visual"), "unknown prior 'visual': use one of frequency, region"),
        (Rule("vote", prior_power=0.5), "prior_power is 0.5, but there is no prior"),
        (Rule("vote", prior="region", prior_power=0), "prior_power is 0; it must be a number above 0"),
        (Rule("bayesian", {"min_species": 1}), "scores every species: set one of species_per_plot, min_score, min_z"),
    ],
)
def test_impossible_rules_are_refused(rule: Rule, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_rule(rule)


def test_a_rule_says_what_it_does_and_what_it_needs() -> None:
    rule = Rule("max", {"species_per_plot": 3}, "mean", "frequency", 0.5)
    assert rule.label == "max(species_per_plot=3), frequency prior^0.5, mean of revisits"
    over_all = [Rule("mean", {"species_per_plot": 1}), Rule("max", {"species_per_plot": 1, "min_z": 2}), rule]
    over_all += [Rule("bisection", {"mean_species_per_plot": 2, "scored_by": by}) for by in ("mean", "bayesian")]
    assert all(rule.needs_all_classes for rule in over_all)
    top = [Rule("max", {"species_per_plot": 1}), Rule("vote"), Rule("bisection", {"mean_species_per_plot": 2})]
    assert not any(rule.needs_all_classes for rule in top)


def test_a_grid_gives_every_rule_once_and_in_order() -> None:
    rules = expand_grid(GRID)
    base = 3 + 2 + 2 + 1  # max of at most 1 and at least 2 cannot be; 2 and 2.0 are one
    assert len(rules) == base * (1 + 2 * 2) * 2
    assert rules == expand_grid(json.loads(json.dumps(GRID)))
    assert rules[:3] == [
        Rule("max", {"species_per_plot": 1}),
        Rule("max", {"species_per_plot": 1}, "mean"),
        Rule("max", {"species_per_plot": 1}, None, "frequency", 0.5),
    ]
    assert len({rule.label for rule in rules}) == len(rules)
    assert expand_grid({"argmax_union": {}}) == [Rule("argmax_union")]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"median": {}}, "unknown aggregation 'median'"),
        ({"max": {"species": [1]}}, "aggregation 'max' takes .*; not species"),
        ({"max": {"min_species": [1]}}, "missing: species_per_plot"),
        ({"max": {"species_per_plot": [0]}}, "species_per_plot is 0; it must be a whole number"),
        ({"max": {"species_per_plot": [1], "min_species": [2]}}, "min_species .2. is more than species_per_plot"),
        ({"max": {"species_per_plot": 3}}, "species_per_plot is 3; in a grid it must be a list of values"),
        ({"max": [1, 2]}, "in a grid it must be a table of parameters"),
        ({"vote": {}, "prior": ["visual"]}, "unknown prior 'visual': use some of frequency, region, none"),
        ({"vote": {}, "prior": "region"}, "prior is 'region'; in a grid it must be a list"),
        ({"vote": {}, "revisits": ["sum"]}, "unknown revisits 'sum'"),
        ({"vote": {}, "prior": ["region"], "prior_power": [-1]}, "prior_power is -1; it must be a number above 0"),
    ],
)
def test_what_is_no_grid_is_refused(grid: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand_grid(grid)
