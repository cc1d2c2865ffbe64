"""Metrics of the species lists of plots, as PlantCLEF scores them.

F1 of a plot compares two sets of species: 2PR / (P + R), which is 2·TP / (2·TP + FP + FN); 1 if both sets are
empty. 2024 ranks by the mean over plots. 2025 and 2026 rank by the mean over transects of the mean within each:
(1/T) Σ_t (1/|t|) Σ_{i∈t} F1_i. Macro F1 per species and micro F1 over all pairs are reported with them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from plantclef_assets.scoring.plot_names import transect_of


@dataclass(frozen=True)
class Scores:
    """The scores of one submission over the plots that have a truth.

    Attributes:
        f1_plot: mean F1 of the plots.
        f1_transect: mean over transects of the mean F1 of their plots.
        f1_species: mean F1 of the species in truth or predictions of any plot.
        f1_micro: F1 of all pairs of plot and species.
        species_per_plot: mean number of predicted species.
        plots: number of scored plots.
    """

    f1_plot: float
    f1_transect: float
    f1_species: float
    f1_micro: float
    species_per_plot: float
    plots: int

    def to_dict(self) -> dict[str, float]:
        """Return a plain dict, in the order above."""
        return asdict(self)


def f1_score(truth: Iterable[int], predicted: Iterable[int]) -> float:
    """Compute the F1 of one plot; 1 if both sets are empty, 0 if one is."""
    true, found = set(truth), set(predicted)
    return _f1(len(true & found), len(found - true), len(true - found))


class UnpairedPlotsError(ValueError):
    """Some plots have a prediction or a truth, but not both; the message names the first ones."""


def pair_plots(
    predictions: Mapping[str, Iterable[int]], truth: Mapping[str, Iterable[int]], *, allow_missing: bool = False
) -> dict[str, Iterable[int]]:
    """Return the predictions of exactly the plots that have a truth.

    Args:
        predictions: plot_id → species_ids.
        truth: plot_id → species_ids.
        allow_missing: a plot without a prediction counts as an empty list, so that leaving plots out gains nothing; a
            predicted plot without a truth is ignored.

    Raises:
        ValueError: no plot is in both.
        UnpairedPlotsError: a plot is in one only, which is not allowed.
    """
    if not predictions.keys() & truth.keys():
        raise ValueError("they have no plot in common")
    missing, unknown = sorted(truth.keys() - predictions.keys()), sorted(predictions.keys() - truth.keys())
    if (missing or unknown) and not allow_missing:
        sides = {"without a prediction": missing, "without a truth": unknown}
        found = "; ".join(f"{what}: {_first(plots)}" for what, plots in sides.items() if plots)
        raise UnpairedPlotsError(found)
    return {plot: predictions.get(plot, ()) for plot in truth}


def score_submission(
    predictions: Mapping[str, Iterable[int]],
    truth: Mapping[str, Iterable[int]],
    *,
    transects: Sequence[str] = (),
) -> Scores:
    """Score the predictions of every plot that has a truth; predictions of other plots are ignored.

    Args:
        predictions: plot_id → species_ids.
        truth: plot_id → species_ids.
        transects: regular expressions with one group, see `transect_of`.

    Raises:
        ValueError: there is no truth, or a plot that has one has no prediction.
    """
    missing = sorted(truth.keys() - predictions.keys())
    if missing or not truth:
        named = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise ValueError(
            f"{len(missing)} plots have a truth but no prediction: {named}" if truth else "no plot has a truth"
        )
    true = {plot: set(species) for plot, species in truth.items()}
    found = {plot: set(predictions[plot]) for plot in truth}

    by_plot = {plot: f1_score(true[plot], found[plot]) for plot in true}
    by_transect: defaultdict[str, list[float]] = defaultdict(list)
    for plot, f1 in by_plot.items():
        by_transect[transect_of(plot, transects)].append(f1)

    hits = Counter(species for plot in true for species in true[plot] & found[plot])
    extra = Counter(species for plot in true for species in found[plot] - true[plot])
    missed = Counter(species for plot in true for species in true[plot] - found[plot])
    by_species = [_f1(hits[s], extra[s], missed[s]) for s in hits.keys() | extra.keys() | missed.keys()]
    return Scores(
        f1_plot=fmean(by_plot.values()),
        f1_transect=fmean(fmean(scores) for scores in by_transect.values()),
        f1_species=fmean(by_species) if by_species else 1.0,
        f1_micro=_f1(hits.total(), extra.total(), missed.total()),
        species_per_plot=fmean(len(species) for species in found.values()),
        plots=len(true),
    )


def _first(plots: Sequence[str]) -> str:
    """Name the first plots of a list."""
    return ", ".join(plots[:5]) + (f" … ({len(plots)} plots)" if len(plots) > 5 else "")


def _f1(hits: int, extra: int, missed: int) -> float:
    """Compute 2·TP / (2·TP + FP + FN); 1 if there is nothing to find and nothing was predicted."""
    total = 2 * hits + extra + missed
    return 2 * hits / total if total else 1.0
