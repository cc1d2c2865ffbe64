"""Checks of the classifiers."""

from collections.abc import Iterable

from plantclef_assets.checks.judging import Check, Evidence, Finding
from plantclef_assets.checks.tables import labels_in_class_map, up_to_date
from plantclef_assets.lake.keys import is_checkpoint_head
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
            Check("head_covers_classes", "A checkpoint's classifier knows every class of the class map.", _head_covers),
            labels_in_class_map(),
            up_to_date(),
        ]
    }


def _better_than_majority(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        if "accuracy" not in record.figures and is_checkpoint_head(artifact.partition):
            continue  # without photographs whose species are known a checkpoint's classifier cannot be judged
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
        most = evidence.recipe.config(artifact.partition).get("epochs")
        if most is not None and record.figures.get("best_epoch") == most:
            yield Finding(artifact, f"{artifact}: the last of {most} epochs is the best; more may help")


def _head_covers(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        count = record.figures.get("uncovered", 0)
        if count:
            named = ", ".join(map(str, record.figures["first_uncovered"]))
            yield Finding(artifact, f"{artifact} does not know {count} classes, so they are never predicted ({named})")
