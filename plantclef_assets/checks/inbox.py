"""Checks of what arrives in the inbox."""

from collections.abc import Iterable

from plantclef_assets.checks.images import little_quarantined
from plantclef_assets.lake.catalog import duplicate_keys
from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    return {
        "inbox_delivery": [
            *table_checks("inbox_delivery"),
            Check("delivered_once", "No photograph is delivered twice.", _delivered_once, blocking=True),
        ],
        "inbox_plots": [
            *table_checks("inbox_plots"),
            little_quarantined(),
            Check("whole_delivery", "Every photograph of the delivery was read.", _whole_delivery, blocking=True),
        ],
    }


def _delivered_once(evidence: Evidence) -> Iterable[Finding]:
    for artifact, row in duplicate_keys(evidence.lake, list(evidence.records), ("digest",)):
        yield Finding(artifact, f"{artifact}: the photograph {row['digest']} is delivered {row['copies']} times")


def _whole_delivery(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        (delivery,) = evidence.recipe.inputs(artifact.partition)
        delivered = evidence.lineage.record(delivery)
        if delivered is not None and record.statistics.get("rows_in") != delivered.rows:
            read = f"{record.statistics.get('rows_in')} photographs were read"
            yield Finding(artifact, f"{artifact}: {read}, but {delivered.rows} are delivered")
