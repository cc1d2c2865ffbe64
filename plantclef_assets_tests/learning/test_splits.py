import numpy as np
import pytest

from plantclef_assets.learning.splits import split_rows


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
