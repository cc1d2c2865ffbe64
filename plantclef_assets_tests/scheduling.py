"""Pytest hooks: how tests are divided among the workers of pytest-xdist, and which tests must be marked `slow`."""

import os
from collections.abc import Iterator

import pytest

NOT_QUICK = {"slow", "gcs", "spark", "sample"}
"""Marks of the tests that `make test` leaves out."""
MOST_CPU_SECONDS = 20
"""An unmarked test that needs more fails. CPU time, since wall time depends on what else the machine does."""

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread per worker, also in the processes that tests start; torch reads this when it is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long modules first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that is not marked and uses too much CPU time, so that `make test` stays quick."""
    before = os.times()[:4]
    yield
    seconds = sum(os.times()[:4]) - sum(before)
    if seconds > MOST_CPU_SECONDS and not NOT_QUICK & {mark.name for mark in item.iter_markers()}:
        pytest.fail(f"This test used {seconds:.0f} s of CPU time: mark it with pytest.mark.slow, or make it smaller.")
