"""Checks of the sweep."""

from collections.abc import Iterable

from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.scoring.sweep_table import CHOOSE, REPORT
from plantclef_assets.settings import Settings

_SCORES = ("f1_plot", "f1_transect", "f1_species", "f1_micro")
_LARGEST_LOSS = 0.15
"""F1 that a chosen rule may lose on plots that did not choose it: more than the luck of the best of hundreds."""


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    return {
        "sweep": [
            *table_checks("sweep"),
            Check("scores_valid", "Every score lies in [0, 1].", _scores_valid, blocking=True),
            Check(
                "choice_holds",
                f"On plots that did not choose it, the chosen rule loses at most {_LARGEST_LOSS} of its F1.",
                _choice_holds,
            ),
        ]
    }


def _scores_valid(evidence: Evidence) -> Iterable[Finding]:
    for artifact in evidence.records:
        table = evidence.lake.read(artifact, ["rule", *_SCORES])
        for name in _SCORES:
            for rule, value in zip(table.column("rule").to_pylist(), table.column(name).to_pylist(), strict=True):
                if value is not None and not 0 <= value <= 1:
                    yield Finding(artifact, f"{artifact}: {name} of {rule} is {value}")


def _choice_holds(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        chosen, reported = (record.statistics.get(f"chosen_f1_{part}") for part in (CHOOSE, REPORT))
        if chosen is not None and reported is not None and chosen - reported > _LARGEST_LOSS:
            rule = record.statistics["chosen"]["rule"]
            yield Finding(
                artifact,
                f"{artifact}: {rule} was chosen for an F1 of {chosen:.3f}, and has {reported:.3f} on other plots; "
                "choose by more plots (PLANTCLEF_VALIDATION__PLOTS), or among fewer rules",
            )
