"""Backbones: the vision transformers that embed photographs and tiles, base and fine-tuned.

What belongs here: assets that are the weights of a model, with their checks and learning curves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext

from plantclef_assets.defs.jobs import CHECKPOINT, FINETUNING, TRAINING_SIDE
from plantclef_assets.defs.naming import Backbone, backbones
from plantclef_assets.defs.source_files import download_limits, file_digest, source_file, weights_identity
from plantclef_assets.ingest.locations import HUB
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.computation import precision
from plantclef_assets.orchestration.declaration import Asset, every, platform_asset
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.pictures import picture
from plantclef_assets.orchestration.resources import AcceleratorResource, LakeResource
from plantclef_assets.report.charts import Curves, draw_curves
from plantclef_assets.settings import Settings


def backbone_assets(settings: Settings) -> list[Asset]:
    """Declare one asset for each backbone that the settings ask for."""
    return [
        _finetuned_backbone(backbone, settings) if backbone.trained else _backbone(backbone, settings)
        for backbone in backbones(settings)
    ]


def _backbone(backbone: Backbone, settings: Settings) -> Asset:
    def class_list() -> dict[str, str | None]:
        return {"class_mapping": file_digest(settings, settings.class_mapping)} if backbone.brings_head else {}

    @platform_asset(
        name=backbone.asset,
        description=f"The weights of the {backbone.name} backbone, with the data config of its model.",
        group="models",
        jobs=[TRAINING_SIDE if settings.has_training else CHECKPOINT],
        kinds={"timm", "safetensors"},
        suffix="safetensors",
        code_version="2",
        config={"model": backbone.model, "input_size": backbone.input_size}
        | ({"with_head": True} if backbone.brings_head else {}),
        sources=lambda: {"weights": weights_identity(settings, backbone.weights)} | class_list(),
        advice=[f"{backbone.name}_weights", f"{backbone.name}_model", f"{backbone.name}_input_size"],
        checks=_backbone_checks(backbone),
    )
    def backbone_weights(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        from plantclef_assets.models.backbone_files import write_backbone

        return in_this_process(
            partial(
                write_backbone,
                lake.lake,
                model=backbone.model,
                weights=HUB if backbone.weights == HUB else settings.resolve(backbone.weights),
                cache=Path(settings.cache),
                input_size=backbone.input_size,
                with_head=backbone.brings_head,
                class_mapping=source_file(settings, settings.class_mapping, context.log.info),
                limits=download_limits(settings),
                log=context.log.info,
            )
        )

    return backbone_weights


def _finetuned_backbone(backbone: Backbone, settings: Settings) -> Asset:
    @platform_asset(
        name=backbone.asset,
        group="models",
        jobs=[FINETUNING],  # it waits for every shard, so it is no part of a run over some of them
        kinds={"torch", "safetensors"},
        suffix="safetensors",
        accelerated=True,
        code_version="1",
        inputs=["base_backbone", every("resized_images")],
        config=lambda _: {
            **asdict(settings.finetuning),
            "validation_share": settings.classifier.validation_share,
            "precision": precision(settings),
            "seed": settings.seed,
        },
        describe=_finetuning_curves,
        results=["holdout_accuracy", "best_epoch", "classes"],
        checks=[
            *_backbone_checks(backbone),
            Check("finetuning_helped", "Fine-tuning is better than training the classifier alone.", _finetuning_helped),
        ],
    )
    def finetuned_backbone(
        context: AssetExecutionContext, lake: LakeResource, accelerator: AcceleratorResource
    ) -> MakeShards:
        """The base backbone after fine-tuning on the training photographs, with the classifier of this training. A
        killed run continues after its last complete epoch.
        """
        from plantclef_assets.models.finetuned_backbone import FinetunedBackbone
        from plantclef_assets.models.finetuning_config import FinetuningConfig

        return in_this_process(
            FinetunedBackbone(
                lake.lake,
                shard_keys(settings.training_shards),
                FinetuningConfig(**asdict(settings.finetuning), seed=settings.seed),
                settings.classifier.validation_share,
                accelerator.device,
                accelerator.precision,
                accelerator.threads,
                context.log.info,
            )
        )

    return finetuned_backbone


def _finetuning_curves(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Return the learning curves; the line marks the epoch that was kept.

    In epoch 0 the classifier alone learned from other views than later, so its loss is not comparable with theirs.
    """
    rows = record.statistics["curves"]
    learned = {row["epoch"]: row["training_loss"] for row in rows if row["epoch"]}
    losses = {"training": learned, "held out": {row["epoch"]: row["holdout_loss"] for row in rows}}
    accuracy = {"held out": {row["epoch"]: row["holdout_accuracy"] for row in rows}}
    panels = (Curves("loss", losses), Curves("accuracy", accuracy))
    drawn = draw_curves(panels, best_epoch=record.statistics["best_epoch"])
    return {"learning_curves": picture(drawn, "learning curves", "png")}


def _backbone_checks(backbone: Backbone) -> list[Check]:
    def model_as_set(context: CheckContext) -> Iterable[Problem]:
        wanted = {"model": backbone.model} | ({"input_size": backbone.input_size} if backbone.input_size else {})
        for artifact, record in context.records.items():
            actual = record.statistics | record.statistics.get("data_config", {})
            for name, value in wanted.items():
                if actual.get(name) != value:
                    yield Problem(artifact, f"{artifact} has {name} {actual.get(name)}, the settings ask for {value}")

    return [
        Check("model_as_set", "The model is the one in the settings.", model_as_set, blocking=True),
        Check("weights_finite", "All weights are finite.", _weights_finite, blocking=True),
    ]


def _finetuning_helped(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        if record.statistics.get("best_epoch") == 0:
            yield Problem(artifact, f"{artifact}: no epoch was better than the classifier on the base backbone")


def _weights_finite(context: CheckContext) -> Iterable[Problem]:
    from safetensors.torch import load_file

    for artifact in context.records:
        for name, tensor in sorted(load_file(context.lake.local(context.lake.path(artifact))).items()):
            if not tensor.isfinite().all():
                yield Problem(artifact, f"{artifact}: tensor {name} is not finite")
