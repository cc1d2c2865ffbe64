"""From a survey's probabilities to the answers of rules: each plot is scored once for rules that score alike."""

from collections.abc import Mapping, Sequence

import numpy as np

from plantclef_assets.scoring.aggregation import Answers, Scorer, choose_species
from plantclef_assets.scoring.priors import Adjustment, Prior, Survey
from plantclef_assets.scoring.rules import Rule
from plantclef_assets.scoring.species_scores import SpeciesScores

ScoredSurvey = dict[str, SpeciesScores]
"""plot_id → scores."""


def answer_plots(survey: Survey, rule: Rule) -> Answers:
    """Answer the plots of a survey by a rule, its prior left aside.

    Raises:
        ValueError: a mean number of species cannot be met.
    """
    return _choose(score_plots(survey, [(None, rule.scorer)])[0], rule)


def answer_plots_twice(
    survey: Survey, rule: Rule, prior: Prior | None, species_ids: np.ndarray | None
) -> tuple[Answers, Answers]:
    """Answer the plots of a survey as they are, and with a prior (not raised yet) or for some species only.

    Raises:
        ValueError: a mean number of species cannot be met.
    """
    adjustment = Adjustment(prior.raised(rule.prior_power) if prior else None, species_ids)
    plain, adjusted = score_plots(survey, [(None, rule.scorer), (adjustment, rule.scorer)])
    return _choose(plain, rule), _choose(adjusted, rule)


def answer_rules(survey: Survey, rules: Sequence[Rule], priors: Mapping[str, Prior]) -> list[Answers | None]:
    """Answer the plots of a survey by many rules in one pass; None where a mean number of species cannot be met.

    Of every plot the scores of each distinct scoring are kept until the end, 17 bytes a species.

    Args:
        survey: the plots with the probabilities of all classes.
        rules: what to answer by.
        priors: the priors that the rules name, not raised yet.
    """
    scorings = {(rule.prior, rule.prior_power, rule.scorer): None for rule in rules}
    adjustments = {
        (name, power): None if name is None else Adjustment(priors[name].raised(power))
        for name, power in {(name, power) for name, power, _ in scorings}
    }
    scored = score_plots(survey, [(adjustments[name, power], scorer) for name, power, scorer in scorings])
    by_scoring = dict(zip(scorings, scored, strict=True))
    answers: list[Answers | None] = []
    for rule in rules:
        try:
            answers.append(_choose(by_scoring[rule.prior, rule.prior_power, rule.scorer], rule))
        except ValueError:
            answers.append(None)
    return answers


def score_plots(survey: Survey, scorings: Sequence[tuple[Adjustment | None, Scorer]]) -> list[ScoredSurvey]:
    """Score every plot in each of several ways, in one pass over the survey; an adjustment is made once a plot."""
    scored: list[ScoredSurvey] = [{} for _ in scorings]
    adjustments = list({id(adjustment): adjustment for adjustment, _ in scorings}.values())
    for plot_id, tiles in survey:
        for adjustment in adjustments:
            adjusted = adjustment(plot_id, tiles) if adjustment else tiles
            for place, (own, scorer) in enumerate(scorings):
                if own is adjustment:
                    scored[place][plot_id] = scorer(adjusted)
    return scored


def _choose(scored: ScoredSurvey, rule: Rule) -> Answers:
    return choose_species(scored, rule.aggregation, rule.parameters, rule.revisits)
