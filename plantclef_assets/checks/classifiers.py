"""Checks of the classifiers."""

from collections.abc import Iterable

from plantclef_assets.lake.keys import is_checkpoint_head
from plantclef_assets.orchestration.checks import Check, Evidence, Finding, none_counted
from plantclef_assets.orchestration.table_checks import labels_in_class_map, up_to_date
from plantclef_assets.settings import Settings

_WORSE_CALIBRATED = 0.02
"""How much the expected calibration error may rise by the temperature: it is fitted on other, fewer photographs."""


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
                "No obs_id is on two sides of the split: learned from, set aside to decide by, and validated on.",
                none_counted(
                    "shared_observations",
                    "{artifact}: {count} observations are on both sides of its split ({named})",
                    "first_shared",
                ),
                blocking=True,
            ),
            Check("stopped_early", "Training ended because the loss that decides stopped falling.", _stopped_early),
            Check(
                "calibrated",
                "The temperature has not put its probabilities further from how often they are right.",
                _calibrated,
            ),
            Check(
                "every_species_a_class",
                "It can name every species that has training photographs.",
                none_counted(
                    "species_without_class",
                    "{artifact} can never name {count} species that have training photographs ({named})",
                    "first_without_class",
                ),
            ),
            Check(
                "head_covers_classes",
                "A checkpoint's classifier knows every class of the class map.",
                none_counted(
                    "uncovered",
                    "{artifact} does not know {count} classes, so they are never predicted ({named})",
                    "first_uncovered",
                ),
            ),
            labels_in_class_map(),
            up_to_date(),
        ]
    }


def _better_than_majority(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        if "accuracy" not in record.statistics and is_checkpoint_head(artifact.partition):
            continue  # without photographs whose species are known a checkpoint's classifier cannot be judged
        accuracy, majority = record.statistics.get("accuracy", 0.0), record.statistics.get("majority_rate", 1.0)
        if accuracy <= majority:
            yield Finding(artifact, f"{artifact}: accuracy {accuracy:.3f}, the commonest species alone {majority:.3f}")


def _stopped_early(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        most = record.statistics.get("epochs_at_most")
        if most and record.statistics.get("best_epoch") == most:
            yield Finding(artifact, f"{artifact}: the last of {most} epochs is the best; more may help")


def _calibrated(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        figures = record.statistics
        if figures.get("calibration") == "impossible":
            yield Finding(
                artifact, f"{artifact}: no photograph could be set aside, so its probabilities are as they came"
            )
        before, after = figures.get("ece_uncalibrated"), figures.get("ece")
        if before is not None and after is not None and after > before + _WORSE_CALIBRATED:
            yield Finding(
                artifact,
                f"{artifact}: expected calibration error {after:.3f} with its temperature, {before:.3f} without",
            )
