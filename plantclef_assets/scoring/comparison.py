"""Comparing two ways to answer on the same photographs or plots."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Show it with signs, three decimals."""
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired_difference(
    first: np.ndarray, second: np.ndarray, groups: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Difference:
    """Estimate how much better the second is than the first, by the percentile bootstrap (Efron 1979).

    What is resampled are whole groups, since photographs of one plant, or visits to one place, are no independent
    witnesses.

    Args:
        first: scores, (n,), or (repetitions, n): those of several seeds are averaged before anything else.
        second: scores of the same shape, of the same photographs or plots in the same order.
        groups: the group of each of the n; each is its own if not given.
        seed: of the resampling.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    if first.shape != second.shape or not first.size or (groups is not None and len(groups) != first.shape[-1]):
        raise ValueError(f"scores of shapes {first.shape} and {second.shape} are not pairs, or their groups are others")
    differences = np.atleast_2d(second - first).mean(axis=0)
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))} if groups is not None else {}
    member = np.array([names[name] for name in groups]) if groups is not None else np.arange(len(differences))
    sums, sizes = np.bincount(member, differences), np.bincount(member)
    chosen = np.random.default_rng(seed).integers(0, len(sums), (_RESAMPLES, len(sums)))
    means = sums[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))
