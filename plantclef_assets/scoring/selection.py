"""Which of the scored species of a plot are answered: at most, at least, above a score, or so many in the mean.

What belongs here: rules that look at scores alone, whatever they were made from, of one plot or of the whole survey.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from plantclef_assets.scoring.species_scores import SpeciesScores


@dataclass(frozen=True)
class Selection:
    """What is asked of the list of a plot.

    Attributes:
        species_per_plot: at most so many species, the best ones.
        min_species: at least so many, if the plot has them: the best of those that would be left out fill the list.
        min_score: none with a lower score, but for these.
        min_z: none whose score is not more than so many standard deviations above the mean of the plot's scores; again
            but for these.
        mean_species_per_plot: instead of `min_score`: the mean length of the lists over all plots.
    """

    species_per_plot: int | None = None
    min_species: int = 0
    min_score: float | None = None
    min_z: float | None = None
    mean_species_per_plot: float | None = None


def select(scores: SpeciesScores, selection: Selection) -> SpeciesScores:
    """Choose the species of one plot by a least score, best first; where all scores are equal, none stands out."""
    wanted = scores.passes.copy()
    if selection.min_score is not None:
        wanted &= scores.score >= selection.min_score
    if selection.min_z is not None:
        wanted &= scores.score - scores.score.mean() > selection.min_z * scores.score.std()
    kept = np.flatnonzero(wanted)[: selection.species_per_plot]
    lacking = selection.min_species - len(kept)
    if lacking > 0:
        kept = np.sort(np.concatenate([kept, np.flatnonzero(~wanted)[:lacking]]))
    return scores.take(kept)


def select_all(survey: Mapping[str, SpeciesScores], selection: Selection) -> dict[str, SpeciesScores]:
    """Choose the species of every plot.

    Raises:
        ValueError: the plots have too few species for the mean that is asked for.
    """
    if selection.mean_species_per_plot is not None and survey:
        selection = replace(selection, min_score=bisect_threshold(survey, selection))
    return {plot: select(scores, selection) for plot, scores in survey.items()}


def bisect_threshold(survey: Mapping[str, SpeciesScores], selection: Selection) -> float:
    """Find one least score for all plots so that the mean number of species per plot meets a target: Espitalier 2025.

    The mean falls as the threshold rises, so the scores that occur are bisected for the highest one at which the mean
    is at least `mean_species_per_plot`; it is more than that by ties, or by less than one species in the whole
    survey. The limits on a plot's list are kept, and counted.

    Raises:
        ValueError: even with all species that were kept of the tiles the mean is lower.
    """
    target = selection.mean_species_per_plot
    assert target is not None, "asked for by its caller"
    wanted = target * len(survey) * (1 - 1e-9)  # 3.3 × 10 plots are 33 species, whatever floating point says

    def species_at(threshold: float) -> int:
        return sum(len(select(scores, replace(selection, min_score=threshold))) for scores in survey.values())

    thresholds = np.unique(np.concatenate([scores.score for scores in survey.values()]))
    reached = species_at(thresholds[0])
    if reached < wanted:
        raise ValueError(
            f"a mean of {target:g} species a plot cannot be met: the predictions hold {reached / len(survey):.2f} in "
            "the mean; keep more species of each tile (PLANTCLEF_TOP_K), or ask for fewer"
        )
    low, high = 0, len(thresholds)  # the mean is reached at low and not at high
    while high - low > 1:
        middle = (low + high) // 2
        if species_at(thresholds[middle]) >= wanted:
            low = middle
        else:
            high = middle
    return float(thresholds[low])
