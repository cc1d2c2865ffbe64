import numpy as np
import pytest

from plantclef_assets.ingest.validation_split import Sides, hold_out, split_rows, split_sides


def test_tags_decide_where_both_sides_have_some():
    train, validation = split_rows(["train", "val", "test", None, "train", ""], [1, 2, 3, 4, 5, 6], seed=1)
    assert train.tolist() == [True, False, False, False, True, False]
    assert validation.tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize("tag", [None, "", "train", "val"])
def test_without_both_tags_an_observation_stays_on_one_side(tag):
    observations = [f"o{number // 3}" for number in range(3000)]
    train, validation = split_rows([tag] * 3000, observations, seed=3)
    assert np.array_equal(train, ~validation)
    assert np.array_equal(validation.reshape(-1, 3).any(axis=1), validation.reshape(-1, 3).all(axis=1))
    assert 0.16 < validation.mean() < 0.24


def test_rows_of_the_test_set_take_no_part():
    train, validation = split_rows(["train"] * 100 + ["test"] * 100, list(range(200)), seed=0)
    assert (train | validation).tolist() == [True] * 100 + [False] * 100


def test_rows_without_observation_are_split_one_by_one():
    _, validation = split_rows([None] * 2000, [None, ""] * 1000, seed=0, validation_share=0.5)
    assert 0.45 < validation.mean() < 0.55


def test_the_split_is_the_same_everywhere_and_another_for_another_seed():
    tags, observations = [None] * 12, [f"obs{number}" for number in range(12)]
    expected = np.flatnonzero(split_rows(tags, observations, seed=42, validation_share=0.4)[1])
    assert expected.tolist() == [6, 7, 8, 9, 11]
    others = [tuple(split_rows(tags, observations, seed=seed, validation_share=0.4)[1]) for seed in range(5)]
    assert len(set(others)) == 5


def test_the_side_of_an_observation_does_not_depend_on_the_other_rows():
    observations = list(range(500))
    _, some = split_rows([None] * 500, observations, seed=9)
    _, more = split_rows([None] * 700, list(range(1000, 1200)) + observations, seed=9)
    assert np.array_equal(more[200:], some)
    _, as_text = split_rows([None] * 500, [str(number) for number in observations], seed=9)
    assert np.array_equal(as_text, some)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="2 learn_tags but 1 obs_ids"):
        split_rows([None, None], [1], seed=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_rows([None], [1], validation_share=1.0, seed=0)


def test_what_is_set_aside_is_whole_observations_of_the_training_side():
    train, observations = np.arange(3000) % 5 > 0, [f"o{number // 3}" for number in range(3000)]
    species = np.zeros(3000, np.int64)
    learn, holdout = hold_out(train, species, observations, share=0.1, seed=42)
    assert np.array_equal(learn | holdout, train)
    assert not (learn & holdout).any()
    names = np.array(observations)
    assert not set(names[learn]) & set(names[holdout])
    assert 0.07 < holdout.sum() / train.sum() < 0.13
    assert np.array_equal(hold_out(train, species, observations, share=0.1, seed=42)[1], holdout)
    assert not np.array_equal(hold_out(train, species, observations, share=0.1, seed=7)[1], holdout)


def test_what_is_set_aside_has_nothing_to_do_with_what_validates():
    observations = list(range(4000))
    sides = split_sides(
        [None] * 4000, observations, np.zeros(4000, np.int64), validation_share=0.2, holdout_share=0.5, seed=1
    )
    assert 0.45 < sides.holdout.sum() / sides.train.sum() < 0.55
    plain = split_rows([None] * 4000, observations, seed=1)
    assert np.array_equal(sides.validation, plain[1])
    none = split_sides(
        [None] * 4000, observations, np.zeros(4000, np.int64), validation_share=0.2, holdout_share=None, seed=1
    )
    assert np.array_equal(none.learn, plain[0]) and not none.holdout.any()


def test_an_observation_with_the_last_photograph_of_a_species_is_learned_from_as_a_whole():
    observations = [f"o{number // 2}" for number in range(400)]
    species = np.where(np.arange(400) % 2, 1, np.arange(400) + 10)  # one of each pair is the only one of its species
    learn, holdout = hold_out(np.ones(400, bool), species, observations, share=0.5, seed=3)
    assert learn.all() and not holdout.any()


def test_observations_on_two_sides_are_told():
    masks = np.eye(3, dtype=bool)
    sides = Sides(*(np.concatenate([row, row]) for row in masks))
    assert sides.shared_observations(["a", "b", "c", "d", "e", "f"]) == []
    assert sides.shared_observations(["a", "b", None, "d", "a", None]) == ["a"]
    assert sides.shared_observations(["a", "b", "c", "c", "", ""]) == ["c"]
    assert sides.shared_observations(["x", "b", "c", "y", "d", "b"]) == ["b"]
