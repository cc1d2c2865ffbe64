"""Checks of the tile predictions."""

from collections.abc import Iterable

from plantclef_assets.orchestration.checks import Check, Evidence, Finding, none_counted
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.recipes import answered_sources, predictions_of
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    return {asset: _checks_of(asset) for asset in map(predictions_of, answered_sources(settings))}


def _checks_of(asset: str) -> list[Check]:
    return [
        *table_checks(asset),
        Check(
            "probabilities_valid",
            "Probabilities lie in [0, 1].",
            none_counted("probabilities_outside", "{artifact}: {count} probabilities are outside [0, 1]"),
            blocking=True,
        ),
        Check(
            "probabilities_sorted",
            "They fall as the rank rises.",
            none_counted(
                "probabilities_rising", "{artifact}: {count} species are likelier than the one ranked before them"
            ),
            blocking=True,
        ),
        Check(
            "confident_somewhere",
            "The mean probability of a tile's first species is above chance.",
            _confident_somewhere,
        ),
    ]


def _confident_somewhere(evidence: Evidence) -> Iterable[Finding]:
    classes = len(evidence.figures("class_map").get("species", []))
    for artifact, record in evidence.records.items():
        mean = record.statistics.get("mean_first_probability")
        if mean is not None and classes and mean <= 1.5 / classes:
            yield Finding(
                artifact, f"{artifact}: the first species has probability {mean:.4f} in the mean, as by chance"
            )
