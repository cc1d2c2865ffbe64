"""Backbones: the vision transformers that photographs and tiles are embedded with, base and fine-tuned alike.

What belongs here: assets that are a model's weights.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets import pictures
from plantclef_assets.assets.common import advice, download_limits, platform_asset, source_file
from plantclef_assets.ingest.locations import HUB
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import every_partition
from plantclef_assets.orchestration.resources import AcceleratorResource, LakeResource
from plantclef_assets.recipes import backbone_settings, brings_head
from plantclef_assets.settings import Settings


def backbone_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make one asset for each backbone that the settings give."""
    trained = {"finetuned"} if settings.trains_backbone else set()
    read = [_backbone_asset(backbone, settings, recipes) for backbone in settings.backbones if backbone not in trained]
    return [*read, _finetuned_asset(settings, recipes)] if trained else read


def _backbone_asset(backbone: str, settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    model, weights, input_size = backbone_settings(backbone, settings)

    @platform_asset(
        f"{backbone}_backbone",
        "backbones",
        settings,
        recipes,
        kinds={"timm", "safetensors"},
        description=f"The {backbone} backbone: weights that fit their model tensor by tensor, with its data config.",
    )
    def backbone_weights(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        from plantclef_assets.models.backbone_files import write_backbone

        make = partial(
            write_backbone,
            lake.lake,
            model=model,
            weights=settings.resolve(weights) if weights != HUB else HUB,
            cache=Path(settings.cache),
            input_size=input_size,
            with_head=brings_head(backbone, settings),
            class_mapping=source_file(settings, settings.class_mapping, context.log.info),
            limits=download_limits(settings),
            log=context.log.info,
        )
        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            advice=advice(settings, f"{backbone}_weights", f"{backbone}_model", f"{backbone}_input_size"),
        )

    return backbone_weights


def _finetuned_asset(settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    @platform_asset(
        "finetuned_backbone",
        "backbones",
        settings,
        recipes,
        kinds={"torch", "safetensors"},
        accelerated=True,
        deps=["base_backbone", AssetDep("resized_images", partition_mapping=every_partition())],
        description="The base backbone, fine-tuned on the training photographs, with the classifier it has learned: "
        "first the classifier alone, then the backbone with it. A killed run goes on after its last whole epoch.",
    )
    def finetuned_backbone(
        context: AssetExecutionContext, lake: LakeResource, accelerator: AcceleratorResource
    ) -> MaterializeResult:
        from plantclef_assets.models.finetuned_backbone import FinetunedBackbone
        from plantclef_assets.models.finetuning_config import FinetuningConfig

        finetune = FinetunedBackbone(
            lake.lake,
            shard_keys(settings.training_shards),
            FinetuningConfig(**settings.finetuning.model_dump(), seed=settings.seed),
            settings.classifier.validation_share,
            accelerator.device,
            accelerator.precision,
            accelerator.threads,
            context.log.info,
        )

        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(finetune),
            pictures.finetuning_curves,
            accelerator.hold,
        )

    return finetuned_backbone
