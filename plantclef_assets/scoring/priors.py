"""Priors and lists of species: what is known about a plot before a tile is classified.

A prior π is a decorated function. It multiplies the probabilities of every tile by π^α, which are then renormalised
over the classes; a list of species removes all others and leaves the rest unchanged. Both are applied before any
aggregation, and need all classes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.tile_probabilities import Survey, TileProbabilities


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
        """Return π^α, scaled to at most 1 against overflow; no result depends on the scale."""
        return Prior({name: (prior / prior.max()) ** power for name, prior in self.by_region.items()}, self.region)


@dataclass(frozen=True)
class Adjustment:
    """A prior, raised already, and a list of species, applied to the tiles of a plot; each is optional."""

    prior: Prior | None = None
    species_ids: np.ndarray | None = None

    def __call__(self, plot_id: str, tiles: TileProbabilities) -> TileProbabilities:
        """Adjust the probabilities of one plot."""
        if self.prior is not None:
            tiles = with_prior(tiles, self.prior.by_region[self.prior.region(plot_id)])
        return tiles if self.species_ids is None else limited_to(tiles, self.species_ids)


@dataclass(frozen=True)
class PriorInputs:
    """What a prior is computed from.

    Attributes:
        survey: the plots with the probabilities of all classes.
        species_id: int64 (S,), the species of the survey.
        images: species_id → number of training photographs.
        region: plot_id → region.
    """

    survey: Survey
    species_id: np.ndarray
    images: Mapping[int, int]
    region: Callable[[str], str]


ComputePrior = Callable[[PriorInputs], Prior]
PRIORS: dict[str, ComputePrior] = {}
"""Name in the settings → function, in the order of registration."""


def prior(name: str) -> Callable[[ComputePrior], ComputePrior]:
    """Register the decorated function as a prior under this name."""

    def register(compute: ComputePrior) -> ComputePrior:
        if name in PRIORS:
            raise ValueError(f"there is already a prior {name!r}")
        PRIORS[name] = compute
        return compute

    return register


@prior("frequency")
def frequency_prior(inputs: PriorInputs) -> Prior:
    """Frequency in the training photographs: π(s) = (images of s + 1) / Σ (images + 1), the same in all regions."""
    counts = np.array([inputs.images.get(species, 0) + 1 for species in inputs.species_id.tolist()], np.float64)
    return Prior({"": counts / counts.sum()}, lambda plot_id: "")


@prior("region")
def region_prior(inputs: PriorInputs) -> Prior:
    """Mean distribution over all tiles of all plots of the region, as the classifier sees them.

    After DS@GT 2025, whose regions were visual clusters of plots.
    """
    sums: dict[str, np.ndarray] = {}
    for plot_id, tiles in inputs.survey:
        total = tiles.probability.sum(axis=0, dtype=np.float64)
        sums[inputs.region(plot_id)] = sums.get(inputs.region(plot_id), 0) + total
    return Prior({name: total / total.sum() for name, total in sums.items()}, inputs.region)


def compute_priors(
    names: Iterable[str], survey: Survey, images: Mapping[int, int], region: Callable[[str], str]
) -> dict[str, Prior]:
    """Compute the priors of these names over a survey; none where it has no plot."""
    first = next(iter(survey), None)
    if first is None:
        return {}
    inputs = PriorInputs(survey, first[1].species_id, images, region)
    wanted = set(names)
    return {name: compute(inputs) for name, compute in PRIORS.items() if name in wanted}


def images_by_species(lake: Lake) -> dict[int, int]:
    """Read the number of training photographs of each species from the class map."""
    classes = lake.read(Artifact("class_map"), ["species_id", "images"])
    return dict(zip(classes.column("species_id").to_pylist(), classes.column("images").to_pylist(), strict=True))


def with_prior(tiles: TileProbabilities, prior: np.ndarray) -> TileProbabilities:
    """Multiply every tile by a prior (S,), and renormalise it over the classes; a tile of zeros stays zero."""
    weighed = tiles.probability * prior
    total = weighed.sum(axis=1, keepdims=True)
    return TileProbabilities(
        tiles.species_id, np.divide(weighed, total, out=np.zeros_like(weighed), where=total > 0).astype(np.float32)
    )


def limited_to(tiles: TileProbabilities, species_ids: np.ndarray) -> TileProbabilities:
    """Keep only some species, with unchanged probabilities."""
    kept = np.isin(tiles.species_id, species_ids)
    return TileProbabilities(tiles.species_id[kept], tiles.probability[:, kept])
