"""Reports: what people look at to judge the features.

What belongs here: assets that sum up others for the eye, and that nothing else is made from.
"""

from collections.abc import Mapping

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets import pictures
from plantclef_assets.assets.common import platform_asset
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import every_partition
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.report.embedding_map import EmbeddingMap
from plantclef_assets.settings import Settings


def report_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module; there are none where there are no two backbones to compare."""
    if not settings.compares_backbones:
        return []

    @platform_asset(
        "embedding_map",
        "reports",
        settings,
        recipes,
        kinds={"umap", "parquet"},
        deps=[
            *(
                AssetDep(f"{backbone}_embeddings", partition_mapping=every_partition())
                for backbone in settings.backbones
            ),
            "class_map",
        ],
    )
    def embedding_map(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """The five commonest species before and after fine-tuning: a map of each space, and how far they lie apart."""
        make = EmbeddingMap(
            lake.lake,
            settings.backbones,
            shard_keys(settings.training_shards),
            settings.classifier.validation_share,
            settings.seed,
            context.log.info,
        )
        return materialize(
            context, Lineage(lake.lake, recipes), in_this_process(make), pictures.embedding_map(lake.lake)
        )

    return [embedding_map]
