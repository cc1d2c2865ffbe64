"""Torch's number of threads, which benchmarks set, and which last digits of later tests depend on."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _restored_torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
