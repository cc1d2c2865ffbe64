"""The lowest rank that a prediction is sure of, and the thresholds from which an answer is trusted."""

import numpy as np
import pytest

from plantclef_assets.scoring.ranks import Taxon, best_taxa, calibrate, lowest_sure, lowest_threshold

TAXA = {
    1: ("Poa", "Poaceae"),
    2: ("Poa", "Poaceae"),
    3: ("Festuca", "Poaceae"),
    4: ("Rosa", "Rosaceae"),
    5: (None, None),
}
THRESHOLDS = {"species": 0.8, "genus": 0.7, "family": 0.9}


def test_probabilities_are_summed_by_genus_and_family() -> None:
    best = best_taxa([(4, 0.35), (1, 0.3), (2, 0.2), (3, 0.1), (5, 0.05)], TAXA)
    assert best["species"] == Taxon("species", 4, 0.35)
    assert (best["genus"].taxon, best["genus"].probability) == ("Poa", pytest.approx(0.5))
    assert (best["family"].taxon, best["family"].probability) == ("Poaceae", pytest.approx(0.6))


@pytest.mark.parametrize(
    ("candidates", "answer"),
    [
        ([(1, 0.85), (2, 0.1)], ("species", 1)),
        ([(1, 0.45), (2, 0.4)], ("genus", "Poa")),
        ([(1, 0.3), (2, 0.3), (3, 0.35)], ("family", "Poaceae")),
        ([(1, 0.4), (4, 0.4)], None),
        ([(5, 0.79)], None),
    ],
)
def test_the_lowest_rank_that_reaches_its_threshold_answers(candidates, answer) -> None:
    found = lowest_sure(candidates, TAXA, THRESHOLDS)
    assert (found and (found.rank, found.taxon)) == answer


def test_a_rank_without_threshold_never_answers() -> None:
    assert lowest_sure([(1, 0.5), (2, 0.5)], TAXA, THRESHOLDS | {"genus": None}) == Taxon("family", "Poaceae", 1.0)
    assert lowest_sure([(1, 1.0)], TAXA, {}) is None


def test_the_threshold_is_the_lowest_from_which_answers_are_precise() -> None:
    probability = np.linspace(0.99, 0.0, 100)
    right = np.arange(100) < 45
    # The first 50 answers have 45 right: 0.9; one more answer is below it.
    assert lowest_threshold(probability, right, 0.9) == pytest.approx(probability[49])
    assert lowest_threshold(probability, ~right, 0.9) is None
    assert lowest_threshold(probability[:19], right[:19], 0.9) is None


def test_equal_probabilities_are_on_one_side_of_a_threshold() -> None:
    probability = np.array([0.9] * 25 + [0.5] * 10)
    right = np.array([True] * 25 + [True] + [False] * 9)
    assert lowest_threshold(probability, right, 0.9) == 0.9


def test_a_genus_is_calibrated_on_what_no_species_answers() -> None:
    sure = [(1, [(1, 0.95), (2, 0.03)])] * 30
    confused = [(2 if number % 2 else 1, [(1, 0.5), (2, 0.45)]) for number in range(30)]
    lost = [(4, [(1, 0.4), (3, 0.3)])] * 30
    thresholds = calibrate([*sure, *confused, *lost], TAXA, 0.9)
    assert thresholds["species"] == pytest.approx(0.95)
    assert thresholds["genus"] == pytest.approx(0.95)  # of Poa, where species 1 has 0.5
    assert thresholds["family"] is None
    # Its answers are right in 30 of 30 photographs, not in 60 of 60.
    assert lowest_sure([(1, 0.5), (2, 0.45)], TAXA, thresholds) == Taxon("genus", "Poa", 0.95)
    assert calibrate(lost, TAXA, 0.9) == {"species": None, "genus": None, "family": None}
    assert calibrate([], TAXA, 0.9) == {"species": None, "genus": None, "family": None}
