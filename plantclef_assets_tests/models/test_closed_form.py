import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from plantclef_assets.models import scaling as standardised
from plantclef_assets.models.closed_form import STARTS
from plantclef_assets.models.scaling import StandardisedRows, class_statistics
from plantclef_assets.models.training_config import TrainingConfig
from plantclef_assets_tests.models.blobs import SPECIES, blobs


def layer(name: str, features: np.ndarray, labels: np.ndarray, **options):
    rows = np.arange(len(features))
    inputs = StandardisedRows.of(features, rows, torch.device("cpu"))
    statistics = class_statistics(inputs, torch.from_numpy(rows), torch.from_numpy(labels))
    config = TrainingConfig(start=name, **options)
    weight, bias = STARTS[name](statistics, shrinkage=config.shrinkage, logit_adjustment=config.logit_adjustment)
    return inputs.take(torch.from_numpy(rows)).numpy().astype(np.float64), weight.numpy(), bias.numpy()


def some() -> tuple[np.ndarray, np.ndarray]:
    features, species = blobs(500, spread=1.5)
    kept = (species != SPECIES[0]) | (np.arange(500) % 3 == 0)  # so that the classes are not equally large
    return features[kept], np.searchsorted(SPECIES, species[kept])


def test_lda_is_that_of_scikit_learn():
    features, labels = some()
    inputs, weight, bias = layer("lda", features, labels, shrinkage=0.2)
    referee = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(inputs, labels)
    assert weight == pytest.approx(referee.coef_, rel=1e-3, abs=1e-6)
    assert bias == pytest.approx(referee.intercept_, rel=1e-3, abs=1e-6)


def test_an_adjustment_takes_the_shares_out_of_lda():
    features, labels = some()
    _, _, with_shares = layer("lda", features, labels)
    _, _, without = layer("lda", features, labels, logit_adjustment=1.0)
    assert with_shares - without == pytest.approx(np.log(np.bincount(labels) / len(labels)))


def test_ridge_is_that_of_scikit_learn():
    features, labels = some()
    # As float32 a mean far from 0 is known to some 1e-3 standard deviations only, which scikit-learn takes out again.
    near_zero = (features - features.mean(0, dtype=np.float64)) / features.std(0, dtype=np.float64).clip(1e-3)
    inputs, weight, bias = layer("ridge", near_zero.astype(np.float32), labels, shrinkage=0.3)
    level = (inputs**2).sum() / inputs.size
    referee = Ridge(alpha=0.3 / 0.7 * level * len(inputs)).fit(inputs, np.eye(3)[labels])
    assert weight * 0.7 == pytest.approx(referee.coef_, rel=1e-3, abs=1e-6)
    assert bias == pytest.approx(referee.intercept_, abs=1e-6)


def test_centroids_are_ordered_by_cosine():
    features, labels = some()
    inputs, weight, bias = layer("centroids", features, labels)
    means = np.stack([inputs[labels == label].mean(0) for label in range(3)])
    cosine = inputs @ means.T / np.linalg.norm(inputs, axis=1)[:, None] / np.linalg.norm(means, axis=1)
    found = inputs @ weight.T + bias
    assert np.array_equal(found.argsort(axis=1), cosine.argsort(axis=1))
    assert not bias.any()


@pytest.mark.parametrize("name", STARTS)
def test_a_species_with_one_photograph_is_known_and_blocks_make_no_difference(name, monkeypatch):
    features, labels = some()
    once = np.append(np.flatnonzero(labels > 0), np.flatnonzero(labels == 0)[0])
    _, whole, _ = layer(name, features[once], labels[once], logit_adjustment=1.0)
    monkeypatch.setattr(standardised, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(StandardisedRows.blocks, "__defaults__", (7,))
    inputs, weight, bias = layer(name, features[once], labels[once], logit_adjustment=1.0)
    assert weight == pytest.approx(whole, rel=1e-4, abs=1e-6)
    scores = inputs[-1] @ weight.T + bias
    assert scores.argmax() == 0 or name == "ridge", "ridge favours what is common"
