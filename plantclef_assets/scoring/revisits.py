"""Fusion over revisits: the answers of all visits to one place as one, which every visit then gives.

Plants stay where they are, so that what one photograph missed another may show (DS@GT ARC 2026; Atlantic 2024 group
revisits too). A step of its own after any aggregation.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from plantclef_assets.scoring.species_scores import SpeciesScores, ranked

REVISITS = ("union", "vote", "mean")
"""`mean` fuses scores before species are chosen, the others the lists after it."""

_DATE = re.compile(r"-\d{8}$")
Survey = dict[str, SpeciesScores]


def place_of(plot_id: str) -> str:
    """Give the place of a plot: its name without the date at the end.

    `CBN-PdlC-A1-20130807` is a visit to `CBN-PdlC-A1`; a name without a date is a place of its own.
    """
    return _DATE.sub("", plot_id) or plot_id


def mean_of_visits(survey: Mapping[str, SpeciesScores]) -> Survey:
    """Average the scores of each species over the visits to a place; one that a visit does not have counts as 0."""
    return _by_place(survey, _mean)


def union_of_visits(survey: Mapping[str, SpeciesScores]) -> Survey:
    """Unite the lists of the visits to a place, each species with its best score.

    A limit on the lists holds for each visit; the union may be longer.
    """
    return _by_place(survey, _union)


def vote_of_visits(survey: Mapping[str, SpeciesScores], *, min_species: int = 0) -> Survey:
    """Keep the species that are in the lists of more than half of the visits to a place, most visits first.

    Equal ones are ordered by their best score. If fewer than `min_species` are left, the next ones of that order join.
    """

    def majority(visits: Sequence[SpeciesScores]) -> SpeciesScores:
        species, share, best, _ = _pooled(visits)
        voted = ranked(species, share, share > 0.5, best)
        return voted.take(np.arange(max(int(voted.passes.sum()), min(min_species, len(voted)))))

    return _by_place(survey, majority)


def _by_place(survey: Mapping[str, SpeciesScores], fuse: Callable[[Sequence[SpeciesScores]], SpeciesScores]) -> Survey:
    """Fuse the visits to each place that has several; the plots keep their order."""
    visits: dict[str, list[SpeciesScores]] = {}
    for plot in sorted(survey):  # sums of floating point numbers depend on their order
        visits.setdefault(place_of(plot), []).append(survey[plot])
    fused = {place: fuse(several) for place, several in visits.items() if len(several) > 1}
    return {plot: fused.get(place_of(plot), scores) for plot, scores in survey.items()}


def _mean(visits: Sequence[SpeciesScores]) -> SpeciesScores:
    species, _, _, sums = _pooled(visits)
    passing = np.concatenate([scores.species_id[scores.passes] for scores in visits])
    return ranked(species, sums / len(visits), np.isin(species, passing))


def _union(visits: Sequence[SpeciesScores]) -> SpeciesScores:
    species, _, best, _ = _pooled(visits)
    return ranked(species, best)


def _pooled(visits: Sequence[SpeciesScores]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give the species of all visits, the share of visits that has each, its best score and the sum of its scores."""
    every = np.concatenate([scores.species_id for scores in visits])
    score = np.concatenate([scores.score for scores in visits])
    species, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
    best = np.full(len(species), -np.inf)
    np.maximum.at(best, inverse, score)
    return species, counts / len(visits), best, np.bincount(inverse, score, len(species))
