import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from plantclef_assets.models import losses
from plantclef_assets.models.losses import asymmetric, nll

LOGITS = np.random.default_rng(1).normal(scale=3, size=(6, 5)).astype(np.float32)
LABELS = np.array([0, 4, 2, 2, 1, 3])


def test_the_nll_is_of_the_label():
    found = nll(torch.tensor(LOGITS), torch.tensor(LABELS)).numpy()
    assert found == pytest.approx(-log_softmax(LOGITS, axis=1)[np.arange(6), LABELS], rel=1e-5)


def test_the_asymmetric_loss_is_that_of_its_formula():
    log_p = log_softmax(LOGITS.astype(np.float64), axis=1)
    expected = np.zeros(6)
    for row in range(6):
        for column in range(5):
            at_label = column == LABELS[row]
            weight = 1.0 if at_label else np.exp(log_p[row, column]) ** 4
            target = 0.9 * at_label + 0.1 / 5
            expected[row] -= target * weight * log_p[row, column]
    assert asymmetric(torch.tensor(LOGITS), torch.tensor(LABELS)).numpy() == pytest.approx(expected, rel=1e-5)


def test_the_asymmetric_loss_can_be_learned_by():
    logits = torch.tensor(LOGITS, requires_grad=True)
    asymmetric(logits, torch.tensor(LABELS)).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[torch.arange(6), torch.tensor(LABELS)] < 0).all()


def test_a_loss_is_added_by_one_decorated_function(monkeypatch):
    monkeypatch.setattr(losses, "LOSSES", {**losses.LOSSES})

    @losses.register_loss
    def hinge(logits, labels):
        return (1 - logits.gather(1, labels[:, None]).squeeze(1)).clamp(min=0)

    assert losses.LOSSES["hinge"](torch.tensor(LOGITS), torch.tensor(LABELS)).shape == (6,)
