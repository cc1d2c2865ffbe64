"""One thread for torch: the problems here are tiny, and threads that wait for each other are slow on a busy machine."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
