"""Backbones: the vision transformers that photographs and tiles are embedded with, base and fine-tuned alike.

What belongs here: assets that are a model's weights.
"""

from collections.abc import Mapping
from functools import partial

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.locations import HUB, is_download
from plantclef_assets.materialization import in_this_process, materialize
from plantclef_assets.recipes import backbone_settings, brings_head
from plantclef_assets.resources import LakeResource
from plantclef_assets.settings import Settings


def backbone_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make one asset for each backbone that the settings give."""
    return [_backbone_asset(backbone, settings, recipes) for backbone in settings.backbones]


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
        from plantclef_assets.vision.artifacts import write_backbone

        make = partial(
            write_backbone,
            lake.lake,
            model=model,
            weights=settings.resolve(weights) if weights != HUB else HUB,
            input_size=input_size,
            with_head=brings_head(backbone, settings),
            class_mapping=settings.resolve(settings.class_mapping) if settings.class_mapping else None,
            address=weights if is_download(weights) else None,
            log=context.log.info,
        )
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(make))

    return backbone_weights
