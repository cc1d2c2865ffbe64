"""The registry: one decorated function is an aggregation, or a prior, everywhere."""

import subprocess
import sys
from typing import Annotated, Any

import numpy as np
import pytest

from plantclef_assets.scoring import registry
from plantclef_assets.scoring.aggregations import AGGREGATIONS
from plantclef_assets.scoring.registry import (
    Parameter,
    SpeciesScores,
    aggregation,
    aggregation_reference,
    all_parameters,
    ranked,
)

NEW_AGGREGATION = '''
from typing import Annotated
import numpy as np
from plantclef_assets.scoring.aggregations import AGGREGATIONS
from plantclef_assets.scoring.priors import Prior, prior
from plantclef_assets.scoring.registry import Parameter, aggregation, ranked

@aggregation(takes=["species_per_plot"], sweep={"quantile": [0.5, 0.9], "species_per_plot": [3]})
def quantile(tiles, *, quantile: Annotated[float, Parameter("Quantile over the tiles", above=0, most=1)] = 0.5):
    """Quantile of each species over the tiles."""
    return ranked(tiles.species_id, np.quantile(tiles.probability, quantile, axis=0))

@prior("uniform")
def uniform_prior(inputs):
    return Prior({"": np.ones(len(inputs.species_id))}, lambda plot_id: "")
'''
USES = """
from pydantic import ValidationError
from plantclef_assets.scoring.prediction import predict, predict_without_and_with
from plantclef_assets.scoring.priors import compute_priors
from plantclef_assets.scoring.rules import default_grid
from plantclef_assets.scoring.tile_probabilities import TileProbabilities
from plantclef_assets.settings.runs import RunSettings, SweepSettings

run = RunSettings(feature_set="base_cls", aggregation="quantile", quantile=0.5, species_per_plot=1, prior="uniform")
tiles = TileProbabilities(np.array([7, 8]), np.array([[0.1, 0.9], [0.6, 0.4], [0.7, 0.3]], np.float32))
survey = [("a", tiles)]
assert predict(survey, run.rule) == {"a": [7]}
priors = compute_priors(["uniform"], survey, {}, str)
assert predict_without_and_with(survey, run.rule, priors["uniform"], None)[1] == {"a": [7]}
assert run.rule.label == "quantile(species_per_plot=1, quantile=0.5), uniform prior"
assert "uniform" in RunSettings.model_fields["prior"].description
assert RunSettings.model_fields["quantile"].description == "Quantile over the tiles (quantile)."
assert "quantile" not in RunSettings(feature_set="base_cls").model_dump(), "not set, so not in the provenance"
assert {"quantile", "uniform"} <= {rule.aggregation for rule in SweepSettings().rules} | set(default_grid()["prior"])
try:
    RunSettings(feature_set="base_cls", aggregation="quantile", quantile=2)
except ValidationError as error:
    assert "less than or equal to 1" in str(error)
else:
    raise AssertionError("2 is not a quantile")
"""


def test_one_decorated_function_is_a_run_a_grid_and_a_reference_entry() -> None:
    done = subprocess.run([sys.executable, "-c", NEW_AGGREGATION + USES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def scores_of(tiles: Any, **_: Any) -> SpeciesScores:
    return ranked(tiles.species_id, tiles.probability.max(axis=0))


def with_other_votes(tiles: Any, *, min_votes: Annotated[int, Parameter("Something else", least=2)] = 2) -> Any:
    return scores_of(tiles)


@pytest.mark.parametrize(
    ("arguments", "function", "message"),
    [
        ({"name": "max"}, scores_of, "there is already an aggregation 'max'"),
        ({"needs": ["min_scores"]}, scores_of, "min_scores is not a limit or one of its parameters"),
        ({}, with_other_votes, "another meaning of min_votes is registered already"),
    ],
)
def test_what_cannot_be_registered_is_refused(arguments: dict, function: Any, message: str) -> None:
    before = dict(AGGREGATIONS)
    with pytest.raises(ValueError, match=message):
        aggregation(**arguments)(function)
    assert before == AGGREGATIONS


def test_the_reference_has_every_aggregation_with_its_parameters() -> None:
    rows = {row["aggregation"]: row for row in aggregation_reference()}
    assert list(rows) == list(AGGREGATIONS)
    assert rows["topk_union"]["needs"] == "top_per_tile"
    assert rows["vote"]["takes"] == "min_votes, species_per_plot, min_species, min_score"
    assert rows["bayesian"]["needs"] == "species_per_plot or min_score or min_z"
    assert all(row["score"].endswith(".") for row in rows.values())


def test_every_parameter_has_a_meaning_and_a_kind() -> None:
    for name, parameter in all_parameters().items():
        assert parameter.meaning and not parameter.meaning.endswith("."), name
        with pytest.raises(ValueError, match=f"{name} is 'x'; it must be "):
            parameter.check(name, "x")


def test_aggregations_that_score_alike_share_their_scores() -> None:
    assert AGGREGATIONS["threshold"].scorer({"min_score": 0.5}) == AGGREGATIONS["max"].scorer({"species_per_plot": 2})
    shared = AGGREGATIONS["bisection"].scorer({"mean_species_per_plot": 3, "scored_by": "bayesian"})
    assert shared == AGGREGATIONS["bayesian"].scorer({"min_z": 2})
    assert shared.all_classes
    assert registry.Scorer(np.max) != registry.Scorer(np.min)
