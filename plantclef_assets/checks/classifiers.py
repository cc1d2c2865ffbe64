"""Checks of the classifiers."""

from collections.abc import Iterable

from plantclef_assets.checks.judging import Check, Evidence, Finding
from plantclef_assets.checks.tables import labels_in_class_map, up_to_date
from plantclef_assets.settings import Settings


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""
    return {
        "classifier": [
            Check(
                "better_than_majority",
                "It does better on the validation photographs than always saying the commonest species.",
                _better_than_majority,
                blocking=True,
            ),
            Check(
                "no_shared_observation",
                "No obs_id is both trained on and validated on.",
                _no_shared_observation,
                blocking=True,
            ),
            Check("stopped_early", "Training ended because the validation loss stopped falling.", _stopped_early),
            labels_in_class_map(),
            up_to_date(),
        ]
    }


def _better_than_majority(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        accuracy, majority = record.figures.get("accuracy", 0.0), record.figures.get("majority_rate", 1.0)
        if accuracy <= majority:
            yield Finding(artifact, f"{artifact}: accuracy {accuracy:.3f}, the commonest species alone {majority:.3f}")


def _no_shared_observation(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        count = record.figures.get("shared_observations", 0)
        if count:
            named = ", ".join(record.figures.get("first_shared", []))
            yield Finding(artifact, f"{artifact}: {count} observations are on both sides of its split ({named})")


def _stopped_early(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        most = evidence.recipe.config(artifact.partition)["epochs"]
        if record.figures.get("best_epoch") == most:
            yield Finding(artifact, f"{artifact}: the last of {most} epochs is the best; more may help")
