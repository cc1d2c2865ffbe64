"""Classifiers: one for each feature set, or several.

What belongs here: assets that learn from embeddings, with their checks and learning curves.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from dagster import AssetExecutionContext

from plantclef_assets.defs.families import Families
from plantclef_assets.defs.jobs import CLASSIFIERS
from plantclef_assets.defs.naming import backbones
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem, count_is_zero
from plantclef_assets.orchestration.declaration import Asset, Input, platform_asset, some
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.pictures import picture
from plantclef_assets.orchestration.resources import AcceleratorResource, LakeResource
from plantclef_assets.orchestration.table_checks import labels_in_class_map
from plantclef_assets.report.charts import Curves, draw_curves
from plantclef_assets.settings import Settings

if TYPE_CHECKING:
    from plantclef_assets.models.val_predictions import ValidationPhotographs

_WORSE_CALIBRATED = 0.02
"""By how much the temperature may raise the expected calibration error: it is fitted on other, fewer photographs."""


def classifier_assets(settings: Settings, families: Families) -> list[Asset]:
    """Declare the classifiers."""

    def config(name: str | None) -> Mapping[str, Any]:
        if feature_set(name or "").from_checkpoint:
            return {}
        training = settings.trained_by(name or "").training_config(settings.seed)
        shares = {"validation_share": settings.classifier.validation_share}
        if training.stop_on == "holdout":
            shares["holdout_share"] = settings.finetuning.holdout_share
        return {**training.changes(), **shares, "seed": settings.seed}

    @platform_asset(
        group="models",
        jobs=[CLASSIFIERS],
        kinds={"torch", "safetensors"},
        partitions=families.feature_sets,
        suffix="safetensors",
        accelerated=True,
        code_version="2",
        inputs=_inputs(settings, families),
        config=config,
        describe=_learning_curves,
        results=["accuracy", "accuracy_top5", "macro_f1", "ece", "best_epoch"],
        checks=_checks(),
    )
    def classifier(context: AssetExecutionContext, lake: LakeResource, accelerator: AcceleratorResource) -> MakeShards:
        """One or more classifiers for each feature set: the paper's linear layer or a variant, trained on standardised
        features and calibrated, with the best epoch kept. `finetuned_head` is the classifier inside the checkpoint,
        unchanged. Each classifier has its own class list.
        """
        from plantclef_assets.models.classifiers import CheckpointClassifier, TrainedClassifier

        shards = shard_keys(settings.training_shards) if settings.has_training else []
        trained = TrainedClassifier(
            lake.lake,
            shards,
            {name: settings.trained_by(name).training_config(settings.seed) for name in settings.feature_sets},
            settings.classifier.validation_share,
            settings.finetuning.holdout_share,
            accelerator.device,
            context.log.debug,
        )
        of_checkpoint = CheckpointClassifier(lake.lake, shards)

        def make(shard: Shard) -> None:
            from_checkpoint = feature_set(shard.artifact.partition or "").from_checkpoint
            (of_checkpoint if from_checkpoint else trained)(shard)

        return in_this_process(make)

    if not settings.has_training:
        return [classifier]

    def validating(lake: Lake) -> "ValidationPhotographs":
        from plantclef_assets.models.val_predictions import ValidationPhotographs

        share = settings.classifier.validation_share
        return ValidationPhotographs(lake, shard_keys(settings.training_shards), share, settings.seed)

    of_validation = partial(
        platform_asset,
        group="models",
        jobs=[CLASSIFIERS],
        kinds={"torch", "parquet"},
        partitions=families.feature_sets,
        code_version="1",
        inputs=["classifier", *_embeddings(settings, families)],
        config={"validation_share": settings.classifier.validation_share, "seed": settings.seed},
    )

    @of_validation()
    def val_predictions(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The five most probable species of each validation photograph, for reliability diagrams and confusions."""
        from plantclef_assets.models.val_predictions import ValPredictions

        return in_this_process(ValPredictions(lake.lake, validating(lake.lake)))

    @of_validation()
    def val_novelty(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The score of each validation photograph, with which the scores of tiles are compared."""
        from plantclef_assets.models.novelty_tables import ValNovelty

        return in_this_process(ValNovelty(lake.lake, validating(lake.lake)))

    return [classifier, val_predictions, val_novelty]


def _embeddings(settings: Settings, families: Families) -> list[Input]:
    """Return the embeddings of the backbone of each feature set."""

    def reads(backbone: str) -> Input:
        def keys(name: str | None) -> tuple[str, ...]:
            return families.training.keys if feature_set(name or "").backbone == backbone else ()

        return some(f"{backbone}_embeddings", keys)

    return [reads(backbone.name) for backbone in backbones(settings)]


def _inputs(settings: Settings, families: Families) -> list[str | Input]:
    """Return what classifiers learn from: the embeddings of their backbone; a checkpoint's is in its weights."""
    inputs: list[str | Input] = [*_embeddings(settings, families)] if settings.has_training else []
    inputs += [
        some(backbone.asset, lambda name: [None] if feature_set(name or "").from_checkpoint else [])
        for backbone in backbones(settings)
        if backbone.brings_head
    ]
    return [*inputs, "class_map"]


def _learning_curves(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Return the learning curves of a classifier; one that came with a checkpoint has none."""
    found = record.statistics
    if "epochs" not in found:
        return {}
    if not found["epochs"]:
        return {"learning_curves": f"Nothing was trained: the closed form '{found['start']}' is the classifier."}
    deciding = {"holdout": "held out", "val": "val"}[found["decided_by"]]
    losses = {"training": found["train_losses"], deciding: found["stopping_losses"]}
    lines = {name: dict(enumerate(line, start=1)) for name, line in losses.items()}
    if "start_loss" in found:
        lines[deciding] = {0: found["start_loss"], **lines[deciding]}
    drawn = draw_curves([Curves("loss", lines)], best_epoch=found["best_epoch"])
    return {"learning_curves": picture(drawn, "learning curves", "png")}


def _checks() -> list[Check]:
    return [
        Check(
            "better_than_majority",
            "On the validation photographs, it is better than always predicting the most frequent species.",
            _better_than_majority,
            blocking=True,
        ),
        Check(
            "no_shared_observation",
            "No observation (obs_id) is in two of the parts training, holdout and validation.",
            count_is_zero(
                "shared_observations",
                "{artifact}: {count} observations are in two parts of its split ({named})",
                "first_shared",
            ),
            blocking=True,
        ),
        Check("stopped_early", "The last epoch is not the best one, so more epochs would not help.", _stopped_early),
        Check(
            "calibrated",
            "The temperature did not make the calibration worse.",
            _calibrated,
        ),
        Check(
            "every_species_a_class",
            "It can predict every species that has training photographs.",
            count_is_zero(
                "species_without_class",
                "{artifact} can never predict {count} species that have training photographs ({named})",
                "first_without_class",
            ),
        ),
        Check(
            "head_covers_classes",
            "The classifier of a checkpoint has every class of the class map.",
            count_is_zero(
                "uncovered",
                "{artifact} lacks {count} classes, which are never predicted ({named})",
                "first_uncovered",
            ),
        ),
        labels_in_class_map(),
    ]


def _better_than_majority(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        if "accuracy" not in record.statistics and feature_set(artifact.partition or "").from_checkpoint:
            continue  # without labelled photographs the classifier of a checkpoint cannot be evaluated
        accuracy, majority = record.statistics.get("accuracy", 0.0), record.statistics.get("majority_rate", 1.0)
        if accuracy <= majority:
            yield Problem(
                artifact, f"{artifact}: accuracy {accuracy:.3f}, the most frequent species alone {majority:.3f}"
            )


def _stopped_early(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        most = record.statistics.get("epochs_at_most")
        if most and record.statistics.get("best_epoch") == most:
            yield Problem(artifact, f"{artifact}: the last of {most} epochs is the best; more may help")


def _calibrated(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        statistics = record.statistics
        if statistics.get("calibration") == "impossible":
            yield Problem(
                artifact, f"{artifact}: no photograph could be held out, so its probabilities are not calibrated"
            )
        before, after = statistics.get("ece_uncalibrated"), statistics.get("ece")
        if before is not None and after is not None and after > before + _WORSE_CALIBRATED:
            yield Problem(
                artifact,
                f"{artifact}: expected calibration error {after:.3f} with its temperature, {before:.3f} without",
            )
