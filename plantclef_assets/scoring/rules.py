"""Rules and runs: all that decides how the probabilities of a survey's tiles become lists of species."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantclef_assets.scoring.aggregation import Scorer, check_aggregation, needs_all_classes, scorer_of
from plantclef_assets.scoring.priors import PRIORS


@dataclass(frozen=True)
class Rule:
    """An aggregation with its parameters, the prior that comes before it, and the fusion of revisits after it.

    Attributes:
        aggregation: a name of `AGGREGATIONS`.
        parameters: its parameters by name.
        revisits: how the visits to a place are fused, if they are: one of `REVISITS`.
        prior: one of `PRIORS`, if there is any.
        prior_power: the exponent of the prior.
    """

    aggregation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    revisits: str | None = None
    prior: str | None = None
    prior_power: float = 1.0

    @property
    def label(self) -> str:
        """The rule in words, as the leaderboard shows it."""
        values = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        parts = [f"{self.aggregation}({values})" if values else self.aggregation]
        if self.prior:
            parts.append(f"{self.prior} prior" + (f"^{self.prior_power:g}" if self.prior_power != 1 else ""))
        if self.revisits:
            parts.append(f"{self.revisits} of revisits")
        return ", ".join(parts)

    @property
    def needs_all_classes(self) -> bool:
        """Whether it is only right over the probabilities of all classes."""
        return self.prior is not None or needs_all_classes(self.aggregation, self.parameters)

    @property
    def scorer(self) -> Scorer:
        """How it scores the species of one plot."""
        return scorer_of(self.aggregation, self.parameters)


@dataclass(frozen=True)
class Run:
    """How one row of the leaderboard comes about."""

    feature_set: str
    tiling: str
    rule: Rule
    species_list: Path | None = None
    """A file of the only species that may be answered."""

    @property
    def label(self) -> str:
        """The rule with what it is limited to."""
        return f"{self.rule.label}, of {self.species_list.name}" if self.species_list else self.rule.label

    @property
    def needs_all_classes(self) -> bool:
        """Whether it reads all classes: a list of species makes every tile choose among its own."""
        return self.species_list is not None or self.rule.needs_all_classes


def check_rule(rule: Rule) -> None:
    """Check a rule before any work starts.

    Raises:
        ValueError: as `check_aggregation`, or the prior is unknown, or its exponent is not above 0, or stands alone.
    """
    check_aggregation(rule.aggregation, rule.parameters, rule.revisits)
    if rule.prior is None and rule.prior_power != 1:
        raise ValueError(f"prior_power is {rule.prior_power:g}, but there is no prior; say one of {', '.join(PRIORS)}")
    if rule.prior is not None and rule.prior not in PRIORS:
        raise ValueError(f"unknown prior {rule.prior!r}: say one of {', '.join(PRIORS)}")
    check_power(rule.prior_power)


def check_power(power: Any) -> None:
    """Check the exponent of a prior.

    Raises:
        ValueError: it is no number above 0.
    """
    if isinstance(power, bool) or not isinstance(power, int | float) or not 0 < power < math.inf:
        raise ValueError(f"prior_power is {power!r}; it must be a number above 0")
