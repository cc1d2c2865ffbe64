"""Priors and lists of species: what they make of tiles, and what they do to answers."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from plantclef_assets.scoring.comparison import effect_of_change
from plantclef_assets.scoring.plot_names import region_of
from plantclef_assets.scoring.prediction import predict_without_and_with
from plantclef_assets.scoring.priors import (
    PriorInputs,
    compute_priors,
    frequency_prior,
    limited_to,
    region_prior,
    with_prior,
)
from plantclef_assets.scoring.rules import Rule
from plantclef_assets.scoring.species_lists import known_species
from plantclef_assets.scoring.tile_probabilities import TileProbabilities

SPECIES = np.array([1363, 1395, 1400])
SURVEY = [
    ("N-1-20240501", TileProbabilities(SPECIES, np.array([[0.5, 0.375, 0.125], [0.25, 0.75, 0]], np.float32))),
    ("S-1-20240501", TileProbabilities(SPECIES, np.array([[0.25, 0.25, 0.5]], np.float32))),
    ("N-2-20240501", TileProbabilities(SPECIES, np.array([[0.375, 0.125, 0.5]], np.float32))),
]


def inputs(images: dict[int, int]) -> PriorInputs:
    return PriorInputs(SURVEY, SPECIES, images, region_of)


def test_frequency_is_by_species_and_never_zero() -> None:
    prior = frequency_prior(inputs({1400: 5, 1363: 1, 9: 100}))
    assert prior.by_region[prior.region("anywhere")].tolist() == [2 / 9, 1 / 9, 6 / 9]


def test_the_prior_of_a_region_is_the_mean_of_all_its_tiles() -> None:
    prior = region_prior(inputs({}))
    assert prior.by_region["N"] == pytest.approx([1.125 / 3, 1.25 / 3, 0.625 / 3])
    assert prior.by_region["S"].tolist() == [0.25, 0.25, 0.5]


def test_a_prior_multiplies_and_is_renormalised() -> None:
    tiles = SURVEY[0][1]
    for power in (0.5, 1, 2):
        prior = frequency_prior(inputs({1363: 8, 1400: 3})).raised(power)
        expected = tiles.probability * np.array([9.0, 1.0, 4.0]) ** power
        found = with_prior(tiles, prior.by_region[""])
        assert found.probability == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-6)
        assert found.probability.dtype == np.float32
    silent = TileProbabilities(SPECIES, np.zeros((1, 3), np.float32))
    assert with_prior(silent, np.ones(3)).probability.tolist() == [[0, 0, 0]]


def test_a_list_of_species_leaves_the_others_as_they_are() -> None:
    left = limited_to(SURVEY[0][1], np.array([7, 1363, 1400]))
    assert left.species_id.tolist() == [1363, 1400]
    assert left.probability.tolist() == [[0.5, 0.125], [0.25, 0]]


def answered(prior: str | None = None, species: list[int] | None = None, **images: int) -> tuple[dict, dict, dict]:
    priors = compute_priors([prior or ""], SURVEY, {int(name[1:]): count for name, count in images.items()}, region_of)
    rule = Rule("argmax_union", {}, prior=prior)
    ids = None if species is None else np.array(species)
    plain, changed = predict_without_and_with(SURVEY, rule, priors.get(prior or ""), ids)
    return plain, changed, effect_of_change(plain, changed)


def test_a_prior_changes_which_species_a_tile_names() -> None:
    plain, changed, effect = answered("frequency", _1395=99)
    assert plain == {"N-1-20240501": [1395, 1363], "S-1-20240501": [1400], "N-2-20240501": [1400]}
    assert changed == {"N-1-20240501": [1395], "S-1-20240501": [1395], "N-2-20240501": [1395]}
    assert effect == {"plots_changed": 3, "pairs_kept": 1 / 4}


def test_a_list_of_species_makes_every_tile_choose_among_its_own() -> None:
    _, changed, effect = answered(species=[1363, 1395])
    assert changed == {"N-1-20240501": [1395, 1363], "S-1-20240501": [1363], "N-2-20240501": [1363]}
    assert effect == {"plots_changed": 2, "pairs_kept": 1 / 2}


def test_class_indices_in_place_of_species_ids_are_seen_to_do_nothing() -> None:
    """A public solution compared class indices with species ids, and its filter did nothing for a whole season."""
    _, _, effect = answered("frequency", _0=99, _1=5, _2=1)
    assert effect == {"plots_changed": 0, "pairs_kept": 1.0}
    with pytest.raises(ValueError, match=r"not one of the 3 ids in checklist\.csv is a species_id of the class map"):
        known_species(Path("checklist.csv"), [0, 1, 2], SPECIES.tolist())


def test_patterns_without_a_group_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the region pattern '\^CBN' is not usable"):
        compute_priors(["region"], [("CBN-1", SURVEY[0][1])], {}, partial(region_of, patterns=["^CBN"]))
