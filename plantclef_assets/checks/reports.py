"""Checks of the reports."""

from collections.abc import Iterable

from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    return {
        "embedding_map": [
            *table_checks("embedding_map"),
            Check(
                "finetuned_separates_better",
                "Species of held-out photographs lie further apart in the fine-tuned space than in the base one.",
                _finetuned_separates_better,
            ),
        ]
    }


def _finetuned_separates_better(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        base, finetuned = (record.statistics.get(f"separation_{name}") for name in ("base", "finetuned"))
        if base is not None and finetuned is not None and finetuned <= base:
            yield Finding(artifact, f"{artifact}: separation {finetuned:.3f} after fine-tuning, {base:.3f} before it")
