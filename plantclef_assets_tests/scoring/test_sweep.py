"""Sweeps: halves of plots, and scores that are those of runs."""

import json

import numpy as np
import pytest

from plantclef_assets.scoring.plot_names import place_of, region_of
from plantclef_assets.scoring.prediction import predict, predict_by_rules, predict_without_and_with
from plantclef_assets.scoring.priors import compute_priors
from plantclef_assets.scoring.rules import Rule, expand_grid
from plantclef_assets.scoring.sweep import halves, sweep_rows
from plantclef_assets.scoring.tile_probabilities import TileProbabilities
from plantclef_assets_tests.scoring.test_rules import GRID


def random_survey(plots: int = 8, tiles: int = 5, species: int = 30) -> list[tuple[str, TileProbabilities]]:
    random = np.random.default_rng(0)
    ids = np.sort(random.choice(9000, species, replace=False))
    return [
        (
            f"{'NS'[plot % 2]}-{plot // 2}-2024050{plot % 3}",
            TileProbabilities(ids, random.dirichlet(np.full(species, 0.2), tiles).astype(np.float32)),
        )
        for plot in range(plots)
    ]


def test_a_sweep_answers_as_each_rule_alone() -> None:
    survey, rules = random_survey(), expand_grid(GRID)
    images = {int(species): int(species) % 50 for species in survey[0][1].species_id}
    priors = compute_priors(["frequency", "region"], survey, images, region_of)
    answers = predict_by_rules(survey, rules, priors)
    for rule, found in zip(rules, answers, strict=True):
        if rule.prior is None:
            assert found == predict(survey, rule), rule.label
        else:
            assert found == predict_without_and_with(survey, rule, priors[rule.prior], None)[1], rule.label
    assert len({json.dumps(found) for found in answers}) > len(rules) / 3


def test_a_survey_is_read_once_for_all_rules() -> None:
    class Counted:
        passes = 0

        def __iter__(self):
            self.passes += 1
            return iter(random_survey())

    survey = Counted()
    predict_by_rules(survey, expand_grid({key: GRID[key] for key in ("max", "vote", "bayesian")}), {})
    assert survey.passes == 1


def test_halves_are_even_and_keep_places_together() -> None:
    plots = [f"A-{place}-2024050{visit}" for place in range(21) for visit in range(place % 3 + 1)]
    parts = halves(plots)
    assert list(parts) == ["choose", "report"]
    assert sorted(parts["choose"] + parts["report"]) == sorted(plots)
    places = [{place_of(plot) for plot in part} for part in parts.values()]
    assert not places[0] & places[1]
    assert [len(part) for part in places] == [11, 10]
    assert parts == halves(reversed(plots))
    assert {len(set(map(int, (p.split("-")[1] for p in part))) & set(range(10))) for part in parts.values()} != {0, 10}


def test_rows_hold_the_scores_of_each_part() -> None:
    rules = [Rule("max", {"species_per_plot": 2}, "mean", "region", 0.5), Rule("vote")]
    answers = [{"a-1": [1, 2], "b-1": [3], "c-1": []}, None]
    truth = {"a-1": [1], "b-1": [3], "d-1": [4]}
    parts = {"choose": ["a-1", "c-1"], "report": ["b-1"], "other": []}
    rows = sweep_rows(rules, answers, truth, feature_set="base_cls", tiling="4x4", parts=parts)
    assert [(row["part"], row["f1_plot"], row["plots"]) for row in rows] == [
        ("choose", pytest.approx(2 / 3), 1),
        ("report", 1.0, 1),
        ("other", None, 0),
        ("choose", None, 1),
        ("report", None, 1),
        ("other", None, 0),
    ]
    first = rows[0]
    assert (first["feature_set"], first["tiling"], first["aggregation"]) == ("base_cls", "4x4", "max")
    assert json.loads(first["parameters"]) == {
        "species_per_plot": 2,
        "prior": "region",
        "prior_power": 0.5,
        "revisits": "mean",
    }
    assert len({tuple(row) for row in rows}) == 1, "all rows have the same columns, in the same order"


def test_a_mean_that_cannot_be_met_is_no_answer() -> None:
    survey = random_survey(species=3)
    rules = [Rule("bisection", {"mean_species_per_plot": 5}), Rule("max", {"species_per_plot": 5})]
    answers = predict_by_rules(survey, rules, {})
    assert answers[0] is None
    assert answers[1] is not None
