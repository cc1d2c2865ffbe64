"""How alike two runs answer the same plots."""

from collections.abc import Iterable, Mapping
from statistics import fmean

Lists = Mapping[str, Iterable[int]]
"""plot_id → species_ids."""


def jaccard(one: Iterable[int], other: Iterable[int]) -> float:
    """Compute |A∩B| / |A∪B| of two sets of species; 1 where both are empty."""
    first, second = set(one), set(other)
    return len(first & second) / len(first | second) if first | second else 1.0


def mean_jaccard(one: Lists, other: Lists) -> float:
    """Compute the mean of `jaccard` over the plots of two runs.

    Raises:
        ValueError: they do not answer the same plots, or none.
    """
    if one.keys() != other.keys() or not one:
        raise ValueError("the runs do not answer the same plots, or none at all; materialize their submissions again")
    return fmean(jaccard(one[plot], other[plot]) for plot in one)


def effect_of_change(before: Lists, after: Lists) -> dict[str, float]:
    """Say what a change, such as a prior, did to the lists of a run.

    Returns:
        `plots_changed`: how many plots have other species; `pairs_kept`: the share of the (plot, species) pairs before
        it that are still answered, 1 where there were none.
    """
    pairs = kept = changed = 0
    for plot, species in before.items():
        was, now = set(species), set(after[plot])
        pairs, kept, changed = pairs + len(was), kept + len(was & now), changed + (was != now)
    return {"plots_changed": changed, "pairs_kept": kept / pairs if pairs else 1.0}
