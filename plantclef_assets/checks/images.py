"""Checks of raw, resized and plot images."""

from collections.abc import Iterable

from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.settings import Settings

_MOST_QUARANTINED = 0.01
"""More than one in a hundred is no accident of single files: the source deserves a look."""


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    assets = ("raw_images", "resized_images", "plot_images")
    return {asset: [*table_checks(asset), little_quarantined()] for asset in assets}


def little_quarantined() -> Check:
    """Make the check that warns of a source in which more is broken than single files."""
    return Check("little_quarantined", "At most 1 % of the images are quarantined.", _little_quarantined)


def _little_quarantined(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        rows, quarantined = record.statistics.get("rows_in", 0), record.statistics.get("quarantined", 0)
        if quarantined > max(1, _MOST_QUARANTINED * rows):
            yield Finding(artifact, f"{artifact}: {quarantined} of {rows} images are quarantined")
