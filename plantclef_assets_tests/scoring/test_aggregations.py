"""Scores of species over the dense probabilities of one plot's tiles."""

import numpy as np
import pytest

from plantclef_assets.scoring.aggregations import argmax_union, bayesian, maximum, mean, topk_union, vote
from plantclef_assets.scoring.prediction import select
from plantclef_assets.scoring.registry import Selection
from plantclef_assets.scoring.tile_probabilities import TileProbabilities


def tiles(*rows: list[float], species: tuple[int, ...] = (10, 20, 30)) -> TileProbabilities:
    return TileProbabilities(np.array(species), np.array(rows, np.float32))


def test_equal_species_of_a_tile_go_by_their_number() -> None:
    equal = tiles([0.25, 0.375, 0.375], [0.25, 0.25, 0.5])
    assert argmax_union(equal).species_id.tolist() == [30, 20]
    assert topk_union(equal, top_per_tile=2).species_id.tolist() == [30, 20, 10]
    assert topk_union(equal, top_per_tile=9).species_id.tolist() == [30, 20, 10]
    assert vote(equal).species_id.tolist() == [30, 20], "one vote each, 30 with the better probability"


def test_a_tile_that_says_nothing_names_no_species() -> None:
    masked = tiles([0, 0, 0], [0, 0.5, 0.25])
    assert argmax_union(masked).species_id.tolist() == [20]
    assert topk_union(masked, top_per_tile=3).species_id.tolist() == [20, 30]
    assert vote(masked).score.tolist() == [0.5], "it is a tile all the same"
    assert maximum(masked).species_id.tolist() == [20, 30, 10]


def test_the_union_agrees_with_a_sort_of_every_tile() -> None:
    random = np.random.default_rng(3)
    probability = np.round(random.dirichlet(np.full(40, 0.2), 30), 2).astype(np.float32)  # with ties and zeros
    probability += np.float32(0.01)
    species = np.arange(40) * 7
    for count in (1, 3, 39):
        best = np.argsort(-probability, axis=1, kind="stable")[:, :count]
        scores = topk_union(TileProbabilities(species, probability), top_per_tile=count)
        assert set(scores.species_id) == set(species[best.ravel()])


def test_bayesian_averaging_weighs_the_sure_tiles_more() -> None:
    sure, unsure = [0.90, 0.06, 0.04], [0.30, 0.38, 0.32]
    doubt = np.abs(np.log10([np.var(sure), np.var(unsure)]))
    certainty = np.sqrt((doubt.max() + 0.5 - doubt) / (doubt.max() + 0.5))
    weight = certainty / certainty.sum()
    scores = bayesian(tiles(sure, unsure))
    assert scores.species_id.tolist() == [10, 20, 30]
    assert scores.score == pytest.approx(weight @ np.array([sure, unsure]), abs=1e-6)
    assert weight[0] > 0.6
    assert scores.score[0] > mean(tiles(sure, unsure)).score[0]


def test_a_tile_without_variance_has_no_weight_unless_all_are_so() -> None:
    even = [0.25, 0.25, 0.25]
    assert bayesian(tiles([0.5, 0.25, 0.125], even)).score.tolist() == [0.5, 0.25, 0.125]
    assert bayesian(tiles(even, even)).score.tolist() == even
    assert bayesian(tiles([1.0], [0.5], species=(7,))).score.tolist() == [0.75], "one species has no variance"


def test_species_that_stand_out_are_those_above_a_z_score() -> None:
    scores = maximum(tiles([0.5, 0.2, 0.1]))  # mean 0.267, standard deviation 0.170
    assert select(scores, Selection(min_z=1)).species_id.tolist() == [10]
    assert select(scores, Selection(min_z=1.4)).species_id.tolist() == []
    assert select(scores, Selection(min_z=1.4, min_species=2)).species_id.tolist() == [10, 20]
    assert select(maximum(tiles([0.25, 0.25, 0.25])), Selection(min_z=0.1)).species_id.tolist() == []
