"""The inbox: plots that arrive after the survey, a shard for each delivery.

What belongs here: deliveries and their photographs. Which files become a delivery is decided by the sensor
(`inbox_sensor.py`); tiles, species and cover are made as those of the survey are (`embeddings.py`, `predictions.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dagster import AssetExecutionContext

from plantclef_assets.defs.families import Families
from plantclef_assets.defs.images import little_quarantined
from plantclef_assets.defs.jobs import INBOX_SIDE
from plantclef_assets.ingest.deliveries import NothingDeliveredError
from plantclef_assets.ingest.photographs import InboxPlots, ReadingConfig
from plantclef_assets.lake.catalog import duplicate_keys
from plantclef_assets.lake.tables import Shard
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.declaration import Asset, platform_asset
from plantclef_assets.orchestration.materialization import MakeShards, in_parallel, in_this_process
from plantclef_assets.orchestration.pictures import contact_sheet
from plantclef_assets.orchestration.resources import EngineResource, LakeResource
from plantclef_assets.settings import Settings


def inbox_assets(settings: Settings, families: Families) -> list[Asset]:
    """Declare the deliveries and their plots; none without an inbox."""
    if settings.inbox is None:
        return []
    inbox, reading = settings.inbox, ReadingConfig(settings.max_pixels)

    @platform_asset(
        group="sources",
        jobs=[INBOX_SIDE],
        kinds={"parquet"},
        partitions=families.inbox,
        code_version="1",
        checks=[Check("delivered_once", "No photograph is delivered twice.", _delivered_once, blocking=True)],
    )
    def inbox_delivery(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The files of a delivery. The sensor of the inbox writes this table once; the asset only records it."""
        return in_this_process(_NotDelivered(inbox))

    @platform_asset(
        group="images",
        jobs=[INBOX_SIDE],
        kinds={"parquet"},
        partitions=families.inbox,
        code_version="1",
        inputs=["inbox_delivery"],
        config=reading,
        describe=contact_sheet,
        checks=[
            little_quarantined(),
            Check("whole_delivery", "Every photograph of the delivery was read.", _whole_delivery, blocking=True),
        ],
    )
    def inbox_plots(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MakeShards:
        """The original files of the plots of a delivery, with their upright sizes."""
        return in_parallel(engine, InboxPlots(lake.lake, inbox, settings.cache, reading))

    return [inbox_delivery, inbox_plots]


@dataclass(frozen=True)
class _NotDelivered:
    """Refuses to make a delivery: one in the lake is up to date, and only the sensor can write another."""

    inbox: str

    def __call__(self, shard: Shard) -> None:
        raise NothingDeliveredError(
            f"nothing is delivered as {shard.artifact.partition}; the sensor inbox_sensor takes what arrives in "
            f"'{self.inbox}', under the next free key"
        )


def _delivered_once(context: CheckContext) -> Iterable[Problem]:
    for artifact, row in duplicate_keys(context.lake, list(context.records), ("digest",)):
        yield Problem(artifact, f"{artifact}: the photograph {row['digest']} is delivered {row['copies']} times")


def _whole_delivery(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        (delivery,) = context.inputs(artifact, "inbox_delivery")
        delivered = context.lineage.record(delivery)
        if delivered is not None and record.statistics.get("rows_in") != delivered.rows:
            read = f"{record.statistics.get('rows_in')} photographs were read"
            yield Problem(artifact, f"{artifact}: {read}, but {delivered.rows} are delivered")
