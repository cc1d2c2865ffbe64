import numpy as np
import pytest
from sklearn.metrics import f1_score as sklearn_f1
from sklearn.preprocessing import MultiLabelBinarizer

from plantclef_assets.scoring.metrics import f1_score, score_submission
from plantclef_assets_tests.scoring.test_plot_names import PATTERNS


def random_plots(seed: int):
    random = np.random.default_rng(seed)

    def species():
        return {f"MIX-{n // 2:02}-{n}": random.choice(30, random.integers(0, 6), replace=False) for n in range(40)}

    truth = species()
    said = {plot: np.union1d(ids[:2], truth[plot][:2]) for plot, ids in species().items()}
    return {plot: set(ids) for plot, ids in truth.items()}, {plot: set(ids) for plot, ids in said.items()}


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_is_the_referee(seed):
    truth, said = random_plots(seed)
    binarizer = MultiLabelBinarizer().fit([*truth.values(), *said.values()])
    true, predicted = (binarizer.transform([side[plot] for plot in truth]) for side in (truth, said))
    scores = score_submission(said, truth)
    by_plot = sklearn_f1(true.T, predicted.T, average=None, zero_division=1.0)
    assert scores.f1_plot == pytest.approx(by_plot.mean())
    assert scores.f1_transect == pytest.approx(by_plot.reshape(20, 2).mean())
    assert scores.f1_species == pytest.approx(sklearn_f1(true, predicted, average="macro"))
    assert scores.f1_micro == pytest.approx(sklearn_f1(true, predicted, average="micro"))
    assert scores.species_per_plot == pytest.approx(predicted.sum() / 40)
    assert scores.plots == 40
    assert 0.1 < scores.f1_plot < 0.9


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [([], [], 1.0), ([1], [], 0.0), ([], [1], 0.0), ([1, 2], [2, 1], 1.0), ([1, 2], [2, 3, 4], 0.4)],
)
def test_f1_of_a_plot(truth, predicted, expected):
    assert f1_score(truth, predicted) == pytest.approx(expected)


def test_transects_weigh_equally_whatever_their_size():
    truth = {"CBN-PdlC-A1-1": [1], "CBN-PdlC-A2-1": [1], "CBN-PdlC-A3-1": [1], "CBN-PdlC-B1-1": [1]}
    said = {"CBN-PdlC-A1-1": [1], "CBN-PdlC-A2-1": [1], "CBN-PdlC-A3-1": [1], "CBN-PdlC-B1-1": [2]}
    scores = score_submission(said, truth, transects=PATTERNS)
    assert (scores.f1_plot, scores.f1_transect) == (0.75, 0.5)
    assert scores.to_dict() == {
        "f1_plot": 0.75,
        "f1_transect": 0.5,
        "f1_species": pytest.approx((2 * 3 / 7 + 0) / 2),
        "f1_micro": 0.75,
        "species_per_plot": 1.0,
        "plots": 4,
    }


def test_plots_without_truth_are_left_out_and_a_missing_prediction_is_an_error():
    assert score_submission({"a-1": [1], "b-1": [2, 3]}, {"a-1": [1]}).plots == 1
    with pytest.raises(ValueError, match="1 plots have a truth but no prediction: b-1"):
        score_submission({"a-1": [1]}, {"a-1": [1], "b-1": [2]})
    with pytest.raises(ValueError, match="no plot has a truth"):
        score_submission({"a-1": [1]}, {})


def test_all_empty_is_all_right():
    scores = score_submission({"a-1": []}, {"a-1": []})
    assert (scores.f1_plot, scores.f1_species, scores.f1_micro, scores.species_per_plot) == (1.0, 1.0, 1.0, 0.0)
