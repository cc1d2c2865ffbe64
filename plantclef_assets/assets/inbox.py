"""The inbox: plots that arrive after the survey, a shard for each delivery.

What belongs here: what was delivered, and its photographs. Which files are taken is the sensor's (`sensors.py`); their
tiles, species and cover are made as those of the survey are (`embeddings.py`, `predictions.py`, `cover.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from plantclef_assets.assets.common import platform_asset
from plantclef_assets.assets.pictures import contact_sheet
from plantclef_assets.ingest.deliveries import NothingDeliveredError
from plantclef_assets.ingest.photographs import InboxPlots
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.shards import Shard
from plantclef_assets.orchestration.materialization import in_this_process, materialize
from plantclef_assets.orchestration.partitions import Families
from plantclef_assets.orchestration.resources import EngineResource, LakeResource
from plantclef_assets.settings import Settings


@dataclass(frozen=True)
class _NotDelivered:
    """In place of what makes a shard: a delivery that is in the lake is up to date, and no other can be made here."""

    inbox: str

    def __call__(self, shard: Shard) -> None:
        raise NothingDeliveredError(
            f"nothing is delivered as {shard.artifact.partition}; the sensor inbox_sensor takes what arrives in "
            f"'{self.inbox}', under the next free key"
        )


def inbox_assets(settings: Settings, families: Families, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """Make the assets of this module; there are none without an inbox."""
    if settings.inbox is None:
        return []
    inbox = settings.inbox

    @platform_asset("inbox_delivery", "inbox", settings, recipes, kinds={"parquet"}, partitions=families.inbox)
    def inbox_delivery(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:
        """What a delivery consists of, written once by the sensor that watches the inbox; here it is only recorded."""
        return materialize(context, Lineage(lake.lake, recipes), in_this_process(_NotDelivered(inbox)))

    @platform_asset(
        "inbox_plots",
        "inbox",
        settings,
        recipes,
        kinds={"parquet"},
        partitions=families.inbox,
        deps=["inbox_delivery"],
    )
    def inbox_plots(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MaterializeResult:
        """The plots of a delivery, their bytes as they were put into the inbox, with their upright sizes."""
        make = InboxPlots(lake.lake, inbox, settings.cache, settings.max_pixels)
        return materialize(
            context, Lineage(lake.lake, recipes), lambda shards: engine.run(make, shards), contact_sheet(lake.lake)
        )

    return [inbox_delivery, inbox_plots]
