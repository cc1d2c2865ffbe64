"""The lowest taxonomic rank that a prediction is sure of: species, else genus, else family.

What belongs here: sums of species probabilities by genus and family, and the thresholds from which their answers are
trusted. The thresholds are calibrated on photographs that did not train the classifier.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RANKS = ("species", "genus", "family")
LEAST_ANSWERS = 20
"""Fewer answers above a threshold say nothing about its precision."""
_ROUNDING = 1e-6
"""Probabilities are float32 in the lake, so that sums in another order differ in the last digits."""

Candidates = Sequence[tuple[int, float]]
"""(species_id, probability) of the likeliest species of a photograph or a tile."""
Taxa = Mapping[int, tuple[str | None, str | None]]
"""species_id → genus and family, None if unknown."""
Thresholds = Mapping[str, float | None]
"""Rank → lowest probability of an answer; None where no probability is high enough."""


@dataclass(frozen=True)
class Taxon:
    """A taxon that a prediction answers.

    Attributes:
        rank: one of `RANKS`.
        taxon: the species_id, or the name of the genus or family.
        probability: sum over its species.
    """

    rank: str
    taxon: int | str
    probability: float


def best_taxa(candidates: Candidates, taxa: Taxa) -> dict[str, Taxon]:
    """Return the likeliest taxon of each rank; none for a rank at which no candidate is known.

    Only the candidates count, so the probability of a higher rank is a lower bound. Equal taxa in the order of their
    first candidate.
    """
    sums: dict[str, dict[int | str, float]] = {rank: defaultdict(float) for rank in RANKS}
    for species_id, probability in candidates:
        for rank, taxon in zip(RANKS, (species_id, *taxa.get(species_id, (None, None))), strict=True):
            if taxon is not None:
                sums[rank][taxon] += probability
    return {rank: Taxon(rank, *max(found.items(), key=lambda one: one[1])) for rank, found in sums.items() if found}


def lowest_sure(candidates: Candidates, taxa: Taxa, thresholds: Thresholds) -> Taxon | None:
    """Return the likeliest taxon of the lowest rank whose probability reaches its threshold; None if none does."""
    best = best_taxa(candidates, taxa)
    for rank in RANKS:
        threshold = thresholds.get(rank)
        if threshold is not None and rank in best and best[rank].probability >= threshold - _ROUNDING:
            return best[rank]
    return None


def calibrate(predictions: Iterable[tuple[int, Candidates]], taxa: Taxa, precision: float) -> dict[str, float | None]:
    """Return the lowest threshold of each rank from which its answers reach a precision.

    A rank is calibrated on the photographs that no lower rank answers, since it answers these alone.

    Args:
        predictions: true species_id and candidates of photographs that did not train the classifier.
        taxa: genus and family of each species.
        precision: share of an answer's photographs that have to be of its taxon.
    """
    rows = [
        [
            (best[rank].probability, best[rank].taxon == true) if rank in best else (np.nan, False)
            for rank, true in zip(RANKS, (truth, *taxa.get(truth, (None, None))), strict=True)
        ]
        for truth, best in ((truth, best_taxa(candidates, taxa)) for truth, candidates in predictions)
    ]
    answers = np.array(rows, float).reshape(-1, len(RANKS), 2)
    thresholds: dict[str, float | None] = {}
    for place, rank in enumerate(RANKS):
        probability, right = answers[:, place].T
        known = ~np.isnan(probability)
        threshold = lowest_threshold(probability[known], right[known], precision)
        thresholds[rank] = threshold
        if threshold is not None:
            answers = answers[~(probability >= threshold)]
    return thresholds


def lowest_threshold(probability: np.ndarray, right: np.ndarray, precision: float) -> float | None:
    """Return the lowest probability from which the answers reach a precision; None if there is none.

    Args:
        probability: (n,), of the answers.
        right: (n,), whether they are right.
        precision: to be reached by at least `LEAST_ANSWERS` answers.
    """
    order = np.argsort(-probability, kind="stable")
    ordered, hits = probability[order], np.cumsum(right[order])
    counts = np.arange(1, len(order) + 1)
    last_of_equal = np.append(ordered[1:] != ordered[:-1], True)[: len(order)]
    reached = np.flatnonzero((hits >= precision * counts) & (counts >= LEAST_ANSWERS) & last_of_equal)
    return float(ordered[reached[-1]]) if len(reached) else None
