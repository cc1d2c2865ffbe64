"""Classifiers: one linear layer for each feature set.

What belongs here: assets that learn from embeddings.
"""

from collections.abc import Iterator, Mapping, Sequence

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets import pictures
from plantclef_assets.assets.common import platform_asset
from plantclef_assets.engines.local import Outcome, run_shards
from plantclef_assets.lake.keys import is_checkpoint_head, shard_keys
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.shards import Shard
from plantclef_assets.materialization import materialize
from plantclef_assets.partitions import Families, every_shard_of
from plantclef_assets.resources import AcceleratorResource, LakeResource
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
        + (["finetuned_backbone", "class_map"] if settings.has_head else []),
    )
    def classifier(
        context: AssetExecutionContext, lake: LakeResource, accelerator: AcceleratorResource
    ) -> MaterializeResult:
        """One linear layer for each feature set: the paper's, or the one inside a fine-tuned checkpoint, as it is.

        The paper's is trained on standardised features and keeps its best epoch. Each has its own class list.
        """
        from plantclef_assets.learning.artifacts import CheckpointClassifier, TrainedClassifier
        from plantclef_assets.learning.linear import TrainingConfig

        shards = shard_keys(settings.training_shards) if settings.has_training else []
        chosen = TrainingConfig(**settings.classifier.model_dump(exclude={"validation_share"}), seed=settings.seed)
        trained = TrainedClassifier(lake.lake, shards, chosen, settings.classifier.validation_share, context.log.debug)
        published = CheckpointClassifier(lake.lake, shards)

        def make(shard: Shard) -> None:
            (published if is_checkpoint_head(shard.artifact.partition) else trained)(shard)

        def run(shards: Sequence[Shard]) -> Iterator[Outcome]:
            with accelerator.hold(context.log.info):
                yield from run_shards(make, shards, workers=1)

        return materialize(context, Lineage(lake.lake, recipes), run, pictures.classifier_curves)

    return [classifier]
