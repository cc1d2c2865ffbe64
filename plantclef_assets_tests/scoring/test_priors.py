"""Priors and lists of species: what they make of tiles, and what they do to answers."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from plantclef_assets.scoring.comparison import effect_of_change, mean_jaccard
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
from plantclef_assets.scoring.rules import Rule, check_rule
from plantclef_assets.scoring.species_lists import known_species, read_species_list
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


@pytest.mark.parametrize(
    ("plot", "region"),
    [
        ("CBN-PdlC-A1-20130807", "CBN-PdlC"),
        ("GUARDEN-AMB-PR-1-20240501", "GUARDEN-AMB"),
        ("RNNB-8-8-20240118", "RNNB"),
        ("2024-CEV3", "2024"),
        ("plot", "plot"),
    ],
)
def test_a_region_is_the_leading_part_of_a_name(plot: str, region: str) -> None:
    assert region_of(plot, ["^((?:CBN|GUARDEN|LISAH)-[A-Za-z]+)-"]) == region


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


@pytest.mark.parametrize(
    "text",
    [
        'name\tspecies_id\tauthor\nA\t1400\t"L\nB\t1363\tx\n',
        '"species_id","name, with author"\n1400,x\n"1363","y, z"\n',
        "1400\n1363\n\n1400\n",
        "\ufeffspecies_id\n1400\n1363\n",
        'name;"species_id"\nA, b;1400\nC;"1363"\n',
    ],
)
def test_lists_of_species_are_read_as_people_keep_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    listed = read_species_list(tmp_path / "list.csv")
    assert listed == [1400, 1363]
    assert known_species(tmp_path / "list.csv", [*listed, 5], SPECIES.tolist()).tolist() == [1363, 1400]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has none"),
        ("species_id\n", "it has none"),
        ("name,id\nA,1400\n", "its header has no column species_id, but name, id"),
        ("species_id;name\n1400;A\nB;1363\n", "line 3 has 'B' instead of a species_id"),
        ("1400\nAbies alba\n", "line 2 has 'Abies alba' instead"),
        ("1400\n0\n", "line 2 has '0' instead"),
        ("1400\n9223372036854775808\n", "line 2 has '9223372036854775808' instead"),
        ("species_id,name\n1400,Abies, alba\n", "it has a row with 3 fields instead of 2: 1400,Abies, alba"),
    ],
)
def test_what_is_no_list_of_species_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=f"list.csv is not a list of species: {message}"):
        read_species_list(tmp_path / "list.csv")


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


def test_agreement_is_the_mean_over_plots() -> None:
    assert mean_jaccard({"a": [1, 2], "b": [], "c": [4]}, {"a": [2, 3], "b": [], "c": [5]}) == pytest.approx(4 / 9)
    with pytest.raises(ValueError, match="do not have the same plots"):
        mean_jaccard({"a": [1]}, {"b": [1]})


def test_patterns_without_a_group_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the region pattern '\^CBN' is not usable"):
        compute_priors(["region"], [("CBN-1", SURVEY[0][1])], {}, partial(region_of, patterns=["^CBN"]))
