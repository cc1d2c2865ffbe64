"""From tile probabilities to species lists: score every plot, fuse revisits, choose the species.

Each plot is scored once for all rules that score alike. What does not belong here: the scoring functions
(`aggregations.py`) and what a rule is (`rules.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from plantclef_assets.scoring.plot_names import place_of
from plantclef_assets.scoring.priors import Adjustment, Prior
from plantclef_assets.scoring.registry import Scorer, Selection, SpeciesScores, ranked
from plantclef_assets.scoring.rules import Rule
from plantclef_assets.scoring.tile_probabilities import Survey

Predictions = dict[str, list[int]]
"""plot_id → species_ids, best first."""
ScoredSurvey = dict[str, SpeciesScores]
"""plot_id → scores."""


def predict(survey: Survey, rule: Rule) -> Predictions:
    """Predict the species of every plot of a survey by a rule, without its prior.

    Raises:
        ValueError: a mean number of species cannot be met.
    """
    return choose_species(score_plots(survey, [(None, rule.scorer)])[0], rule)


def predict_without_and_with(
    survey: Survey, rule: Rule, prior: Prior | None, species_ids: np.ndarray | None
) -> tuple[Predictions, Predictions]:
    """Predict the species of every plot twice: without, and with a prior (not raised yet) or a list of species.

    Raises:
        ValueError: a mean number of species cannot be met.
    """
    adjustment = Adjustment(prior.raised(rule.prior_power) if prior else None, species_ids)
    plain, adjusted = score_plots(survey, [(None, rule.scorer), (adjustment, rule.scorer)])
    return choose_species(plain, rule), choose_species(adjusted, rule)


def predict_by_rules(survey: Survey, rules: Sequence[Rule], priors: Mapping[str, Prior]) -> list[Predictions | None]:
    """Predict the species of every plot by many rules in one pass; None if a mean number of species cannot be met.

    The scores of each distinct scoring are kept for all plots until the end, 17 bytes a species and plot.

    Args:
        survey: the plots with the probabilities of all classes.
        rules: the rules.
        priors: the priors that the rules name, not raised yet.
    """
    scorings = {(rule.prior, rule.prior_power, rule.scorer): None for rule in rules}
    adjustments = {
        (name, power): None if name is None else Adjustment(priors[name].raised(power))
        for name, power in {(name, power) for name, power, _ in scorings}
    }
    scored = score_plots(survey, [(adjustments[name, power], scorer) for name, power, scorer in scorings])
    by_scoring = dict(zip(scorings, scored, strict=True))
    predictions: list[Predictions | None] = []
    for rule in rules:
        try:
            predictions.append(choose_species(by_scoring[rule.prior, rule.prior_power, rule.scorer], rule))
        except ValueError:
            predictions.append(None)
    return predictions


def score_plots(survey: Survey, scorings: Sequence[tuple[Adjustment | None, Scorer]]) -> list[ScoredSurvey]:
    """Score every plot in each of several ways, in one pass over the survey; each adjustment is made once a plot."""
    scored: list[ScoredSurvey] = [{} for _ in scorings]
    adjustments = list({id(adjustment): adjustment for adjustment, _ in scorings}.values())
    for plot_id, tiles in survey:
        for adjustment in adjustments:
            adjusted = adjustment(plot_id, tiles) if adjustment else tiles
            for place, (own, scorer) in enumerate(scorings):
                if own is adjustment:
                    scored[place][plot_id] = scorer(adjusted)
    return scored


def choose_species(scored: ScoredSurvey, rule: Rule) -> Predictions:
    """Choose the species of every plot from the scores by the scorer of this rule; ties by species_id.

    The plots keep their order. The visits to a place are fused as `Rule.revisits` says: plants stay where they are, so
    one photograph may show what another missed (DS@GT ARC 2026; Atlantic 2024 group revisits too).

    Raises:
        ValueError: a mean number of species cannot be met.
    """
    selection = rule.selection
    if rule.revisits == "mean":
        scored = _fuse_visits(scored, _mean_of_visits)
    if selection.mean_species_per_plot is not None and scored:
        selection = replace(selection, min_score=_bisect_threshold(scored, selection))
    chosen = {plot: select(scores, selection) for plot, scores in scored.items()}
    if rule.revisits == "union":
        chosen = _fuse_visits(chosen, _union_of_visits)
    elif rule.revisits == "vote":
        chosen = _fuse_visits(chosen, lambda visits: _majority_of_visits(visits, selection.min_species))
    return {plot: scores.species_id.tolist() for plot, scores in chosen.items()}


def select(scores: SpeciesScores, selection: Selection) -> SpeciesScores:
    """Choose the species of one plot within the limits, best first; with equal scores none exceeds `min_z`."""
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


def _bisect_threshold(scored: ScoredSurvey, selection: Selection) -> float:
    """Find one lowest score for all plots so that the mean number of species meets a target: Espitalier 2025.

    The mean falls as the threshold rises, so the scores that occur are bisected for the highest one at which the mean
    is at least `mean_species_per_plot`; ties, or less than one species in the whole survey, can make it larger. The
    other limits on the list of a plot are kept, and counted.

    Raises:
        ValueError: the mean is lower even with all species that were kept of the tiles.
    """
    target = selection.mean_species_per_plot
    assert target is not None, "the caller checks it"
    wanted = target * len(scored) * (1 - 1e-9)  # 3.3 × 10 plots are 33 species, despite rounding

    def species_at(threshold: float) -> int:
        return sum(len(select(scores, replace(selection, min_score=threshold))) for scores in scored.values())

    thresholds = np.unique(np.concatenate([scores.score for scores in scored.values()]))
    reached = species_at(thresholds[0])
    if reached < wanted:
        raise ValueError(
            f"a mean of {target:g} species a plot cannot be met: the predictions hold {reached / len(scored):.2f} in "
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


def _fuse_visits(scored: ScoredSurvey, fuse: Callable[[Sequence[SpeciesScores]], SpeciesScores]) -> ScoredSurvey:
    """Fuse the visits to each place that has several; the plots keep their order."""
    visits: dict[str, list[SpeciesScores]] = {}
    for plot in sorted(scored):  # sums of floating point numbers depend on their order
        visits.setdefault(place_of(plot), []).append(scored[plot])
    fused = {place: fuse(several) for place, several in visits.items() if len(several) > 1}
    return {plot: fused.get(place_of(plot), scores) for plot, scores in scored.items()}


def _mean_of_visits(visits: Sequence[SpeciesScores]) -> SpeciesScores:
    """Average the scores of each species over the visits; a species that a visit lacks counts as 0 there."""
    species, _, _, sums = _pooled(visits)
    passing = np.concatenate([scores.species_id[scores.passes] for scores in visits])
    return ranked(species, sums / len(visits), np.isin(species, passing))


def _union_of_visits(visits: Sequence[SpeciesScores]) -> SpeciesScores:
    """Unite the lists, each species with its best score; limits hold for each visit, so the union may be longer."""
    species, _, best, _ = _pooled(visits)
    return ranked(species, best)


def _majority_of_visits(visits: Sequence[SpeciesScores], min_species: int) -> SpeciesScores:
    """Keep the species in the lists of more than half of the visits, most visits first, then by best score.

    If fewer than `min_species` are left, the next ones of that order fill the list.
    """
    species, share, best, _ = _pooled(visits)
    voted = ranked(species, share, share > 0.5, best)
    return voted.take(np.arange(max(int(voted.passes.sum()), min(min_species, len(voted)))))


def _pooled(visits: Sequence[SpeciesScores]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the species of all visits, the share of visits with each, its best score and the sum of its scores."""
    every = np.concatenate([scores.species_id for scores in visits])
    score = np.concatenate([scores.score for scores in visits])
    species, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
    best = np.full(len(species), -np.inf)
    np.maximum.at(best, inverse, score)
    return species, counts / len(visits), best, np.bincount(inverse, score, len(species))
