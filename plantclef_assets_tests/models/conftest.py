"""The small model, and torch's number of threads."""

import pytest
import torch

from plantclef_assets.models.backbones import Backbone, load_backbone
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.weights import Weights
from plantclef_assets_tests.models.photograph_fixtures import photograph_lake  # noqa: F401
from plantclef_assets_tests.models.random_weights import random_weights


@pytest.fixture(scope="session")
def small_weights() -> Weights:
    return random_weights()


@pytest.fixture(scope="session")
def small_backbone(small_weights: Weights) -> Backbone:
    return load_backbone(SMALL_VIT, small_weights)


@pytest.fixture(autouse=True)
def set_torch_threads():
    """Begin with one thread, for threads that wait for each other are slow on a busy machine; a test may set more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.set_num_threads
    torch.set_num_threads(before)
