"""Classifiers: one for each feature set, or several side by side.

What belongs here: assets that learn from embeddings.
"""

from collections.abc import Mapping

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets import pictures
from plantclef_assets.assets.common import platform_asset
from plantclef_assets.lake.keys import is_checkpoint_head, shard_keys
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.shards import Shard
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import Families, every_shard_of
from plantclef_assets.orchestration.resources import AcceleratorResource, LakeResource
from plantclef_assets.settings import Settings


def classifier_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module."""

    @platform_asset(
        "classifier",
        "classifiers",
        settings,
        recipes,
        kinds={"torch", "safetensors"},
        partitions=families.feature_sets,
        accelerated=True,
        deps=[
            AssetDep(f"{backbone}_embeddings", partition_mapping=every_shard_of(backbone, settings))
            for backbone in settings.backbones
            if settings.has_training
        ]
        + (["finetuned_backbone"] if settings.has_head else [])
        + ["class_map"],
    )
    def classifier(
        context: AssetExecutionContext, lake: LakeResource, accelerator: AcceleratorResource
    ) -> MaterializeResult:
        """One classifier for each feature set, or several: the paper's linear layer and its variants, trained on
        standardised features, the best epoch kept and calibrated; or the one inside a fine-tuned checkpoint, as it is.
        Each has its own class list.
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
        published = CheckpointClassifier(lake.lake, shards)

        def make(shard: Shard) -> None:
            (published if is_checkpoint_head(shard.artifact.partition) else trained)(shard)

        return materialize(
            context,
            Lineage(lake.lake, recipes),
            in_this_process(make),
            pictures.classifier_curves,
            accelerator.hold,
        )

    return [classifier]
