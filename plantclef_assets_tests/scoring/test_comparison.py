"""Comparisons of two methods on the same plots."""

import numpy as np
import pytest

from plantclef_assets.scoring.comparison import mean_jaccard, paired_difference


def scores(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_the_interval_is_that_of_the_mean_of_paired_differences() -> None:
    first, noise = scores(0, 400) * 10, scores(1, 400)
    found = paired_difference(first, first + 0.5 + noise)
    assert found.mean == pytest.approx(0.5 + noise.mean())
    # By the normal approximation it reaches 1.96 standard errors to each side; the spread of `first` does not matter.
    reach = 1.96 * noise.std() / 20
    assert found.low == pytest.approx(found.mean - reach, abs=0.02)
    assert found.high == pytest.approx(found.mean + reach, abs=0.02)


def test_it_covers_the_truth_nineteen_times_of_twenty() -> None:
    covered = 0
    for trial in range(200):
        found = paired_difference(np.zeros(60), scores(trial, 60) + 0.3)
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 200


def test_groups_are_resampled_whole() -> None:
    per_group = scores(3, 30)
    second = np.repeat(per_group, 10)
    groups = [f"place {number}" for number in np.repeat(np.arange(30), 10)]
    alone, grouped = paired_difference(second * 0, second), paired_difference(second * 0, second, groups)
    assert grouped.mean == pytest.approx(alone.mean)
    assert grouped.high - grouped.low > 2.5 * (alone.high - alone.low)


def test_seeds_are_averaged_before_they_are_resampled() -> None:
    several = scores(4, 3, 50)
    assert paired_difference(several * 0, several) == paired_difference(np.zeros(50), several.mean(axis=0))


def test_what_is_no_pair_is_refused() -> None:
    for first, second, groups in (
        (np.zeros(3), np.zeros(4), None),
        (np.zeros(0), np.zeros(0), None),
        (np.zeros(3), np.zeros(3), ["a"]),
    ):
        with pytest.raises(ValueError, match="not pairs"):
            paired_difference(first, second, groups)


def test_it_reads_as_a_number_with_its_interval() -> None:
    found = paired_difference(np.zeros(3), np.array([0.25, 0.25, 0.25]))
    assert str(found) == "+0.250 [+0.250, +0.250]"


def test_agreement_is_the_mean_over_plots() -> None:
    assert mean_jaccard({"a": [1, 2], "b": [], "c": [4]}, {"a": [2, 3], "b": [], "c": [5]}) == pytest.approx(4 / 9)
    with pytest.raises(ValueError, match="do not have the same plots"):
        mean_jaccard({"a": [1]}, {"b": [1]})
