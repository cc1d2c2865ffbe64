"""What is known before a tile is seen: how likely each species is, and which species there can be at all.

A prior multiplies the probabilities of every tile by π^α, which are then renormalised over the classes; a list of
species leaves only its own, as they are. Either comes before any aggregation, and needs all classes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from plantclef_assets.scoring.species_scores import TileProbabilities

PRIORS = ("frequency", "region")
"""By photographs in the training metadata, or by what the classifier sees in all plots of a region."""

Survey = Iterable[tuple[str, TileProbabilities]]
"""(plot_id, probabilities), all plots over the same species; can be iterated again."""


@dataclass(frozen=True)
class Prior:
    """How likely each species is in a region.

    Attributes:
        by_region: region → float64 (S,), of the species of a survey, in their order.
        region: plot_id → region.
    """

    by_region: Mapping[str, np.ndarray]
    region: Callable[[str], str]

    def raised(self, power: float) -> "Prior":
        """Give π^α; scaled to at most 1, which no result depends on, so that nothing becomes too large or small."""
        return Prior({name: (prior / prior.max()) ** power for name, prior in self.by_region.items()}, self.region)


@dataclass(frozen=True)
class Adjustment:
    """What a prior, raised already, and a list of species make of the tiles of a plot; each only where it is given."""

    prior: Prior | None = None
    species_ids: np.ndarray | None = None

    def __call__(self, plot_id: str, tiles: TileProbabilities) -> TileProbabilities:
        """Adjust the probabilities of one plot."""
        if self.prior is not None:
            tiles = with_prior(tiles, self.prior.by_region[self.prior.region(plot_id)])
        return tiles if self.species_ids is None else limited_to(tiles, self.species_ids)


def frequency_prior(species_id: np.ndarray, images: Mapping[int, int]) -> Prior:
    """Make the prior of the training photographs: π(s) = (images of s + 1) / Σ (images + 1), the same everywhere.

    Args:
        species_id: int64 (S,), of the classifier.
        images: species_id → photographs; a species that is not there has none.
    """
    counts = np.array([images.get(species, 0) + 1 for species in species_id.tolist()], np.float64)
    return Prior({"": counts / counts.sum()}, lambda plot_id: "")


def region_prior(survey: Survey, region: Callable[[str], str]) -> Prior:
    """Make the empirical prior of a survey: π_r = the mean distribution over all tiles of all plots of region r.

    After DS@GT 2025, whose regions were visual clusters of plots.
    """
    sums: dict[str, np.ndarray] = {}
    for plot_id, tiles in survey:
        total = tiles.probability.sum(axis=0, dtype=np.float64)
        sums[region(plot_id)] = sums.get(region(plot_id), 0) + total
    return Prior({name: total / total.sum() for name, total in sums.items()}, region)


def make_priors(
    names: Iterable[str], survey: Survey, images: Mapping[int, int], region: Callable[[str], str]
) -> dict[str, Prior]:
    """Make the priors of these names of `PRIORS` over a survey: `images` is for frequency, `region` for region."""
    first = next(iter(survey), None)
    if first is None:
        return {}
    makers = {
        "frequency": lambda: frequency_prior(first[1].species_id, images),
        "region": lambda: region_prior(survey, region),
    }
    return {name: makers[name]() for name in PRIORS if name in set(names)}


def with_prior(tiles: TileProbabilities, prior: np.ndarray) -> TileProbabilities:
    """Multiply every tile by a prior (S,), and renormalise it over the classes; a tile of zeros stays so."""
    weighed = tiles.probability * prior
    total = weighed.sum(axis=1, keepdims=True)
    return TileProbabilities(
        tiles.species_id, np.divide(weighed, total, out=np.zeros_like(weighed), where=total > 0).astype(np.float32)
    )


def limited_to(tiles: TileProbabilities, species_ids: np.ndarray) -> TileProbabilities:
    """Leave only some species, with the probabilities that they have."""
    kept = np.isin(tiles.species_id, species_ids)
    return TileProbabilities(tiles.species_id[kept], tiles.probability[:, kept])
