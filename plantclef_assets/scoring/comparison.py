"""Comparisons on the same plots or photographs: how much two species lists agree, how much better one method scores."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

Lists = Mapping[str, Iterable[int]]
"""plot_id → species_ids."""
_RESAMPLES = 10_000


def jaccard(one: Iterable[int], other: Iterable[int]) -> float:
    """Compute |A∩B| / |A∪B| of two sets of species; 1 if both are empty."""
    first, second = set(one), set(other)
    return len(first & second) / len(first | second) if first | second else 1.0


def mean_jaccard(one: Lists, other: Lists) -> float:
    """Compute the mean of `jaccard` over the plots of two runs.

    Raises:
        ValueError: they are not of the same plots, or of none.
    """
    if one.keys() != other.keys() or not one:
        raise ValueError("the runs do not have the same plots, or no plot at all; materialize their submissions again")
    return fmean(jaccard(one[plot], other[plot]) for plot in one)


def effect_of_change(before: Lists, after: Lists) -> dict[str, float]:
    """Return statistics of what a change, such as a prior, did to the lists of a run.

    Returns:
        `plots_changed`: number of plots with other species; `pairs_kept`: share of the earlier (plot, species) pairs
        that are still predicted, 1 if there were none.
    """
    pairs = kept = changed = 0
    for plot, species in before.items():
        was, now = set(species), set(after[plot])
        pairs, kept, changed = pairs + len(was), kept + len(was & now), changed + (was != now)
    return {"plots_changed": changed, "pairs_kept": kept / pairs if pairs else 1.0}


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

    Whole groups are resampled: photographs of one plant, or visits to one place, are not independent.

    Args:
        first: scores, (n,), or (repetitions, n): several seeds, which are averaged first.
        second: scores of the same shape, of the same photographs or plots in the same order.
        groups: the group of each of the n; None makes each a group of its own.
        seed: seed of the resampling.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    if first.shape != second.shape or not first.size or (groups is not None and len(groups) != first.shape[-1]):
        raise ValueError(
            f"scores of shapes {first.shape} and {second.shape} are not pairs, or their groups do not match"
        )
    differences = np.atleast_2d(second - first).mean(axis=0)
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))} if groups is not None else {}
    member = np.array([names[name] for name in groups]) if groups is not None else np.arange(len(differences))
    sums, sizes = np.bincount(member, differences), np.bincount(member)
    chosen = np.random.default_rng(seed).integers(0, len(sums), (_RESAMPLES, len(sums)))
    means = sums[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))
