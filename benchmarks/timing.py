"""Timing arms in turn, and how large a benchmark is."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from benchmarks.results import Results

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Cores that this process may use."""


class Size(StrEnum):
    """How much a benchmark measures."""

    SMALL = "small"
    """Seconds; for tests. The numbers mean nothing."""
    USUAL = "usual"
    """Minutes on two cores; what takes longer is extrapolated from two smaller sizes, and marked."""
    FULL = "full"
    """Measures everything at its real size."""


def alternate(arms: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Run all arms in turn, `rounds` times, since machines are noisy, and return the seconds of each arm."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, work in arms.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def add_rates(
    results: Results,
    seconds: Mapping[str, list[float]],
    amount: float,
    others: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Add a row for each arm of a table with the metrics of `rates`: how many of `amount` it does per second.

    Args:
        results: holds the table.
        seconds: of each round, by arm.
        amount: what an arm does in a round.
        others: further metrics, by arm.
    """
    for name, times in seconds.items():
        rates = {"median": statistics.median(times), "slowest": max(times), "fastest": min(times)}
        further = (others or {}).get(name, {})
        results.add(name, {metric: amount / one for metric, one in rates.items()} | dict(further))


def rates(unit: str) -> dict[str, str]:
    """Return the metrics of a table of rates, with their unit."""
    return dict.fromkeys(("median", "slowest", "fastest"), unit)
