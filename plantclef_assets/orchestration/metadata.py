"""Metadata of materializations: what the UI shows on the page of an asset, and in which order.

Results come first, as numbers that the UI plots over time; then pictures and tables, links to files, how the artifact
was made, other statistics, and provenance last. What belongs here: this order, and how an artifact that was left alone
keeps its pictures. What does not: the pictures (`defs/`, `report/`).
(https://docs.dagster.io/guides/build/assets/metadata-and-tags)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    MarkdownMetadataValue,
    MetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableMetadataValue,
    TableSchema,
)

from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.sidecars import SIDECARS
from plantclef_assets.lake.store import Artifact, Lake, LakePath, Record

Describe = Callable[[Lake, Artifact, Record], Mapping[str, Any]]
"""Returns metadata of an asset's own for one artifact, such as a picture."""

REPORT = Artifact("plot_report", "index", "html")
"""The start page of the report, where the lake has one."""
_HIDDEN_STATISTICS = {"species", "rows", "rows_out", SIDECARS}
"""Statistics that are for checks, or that Dagster shows in its own way."""
_DIGITS = 4
"""Significant digits of numbers that are shown."""
_DRAWN_AGAIN = 16
"""Most partitions of a no-op whose pictures are drawn again, where no earlier materialization has them."""
_EVENTS_AT_ONCE = 100
_IDENTITY = ("fingerprint", "provenance")


@dataclass(frozen=True)
class Presentation:
    """What the UI shows of the artifacts of an asset besides what it shows of all.

    Attributes:
        describe: returns pictures, tables and results that no statistic holds.
        results: names of the statistics that come first.
    """

    describe: Describe | None = None
    results: Sequence[str] = ()


@dataclass(frozen=True)
class MetadataBuilder:
    """The metadata of the artifacts of one materialization, built from their records."""

    lineage: Lineage
    shown: Presentation

    def build(
        self,
        artifact: Artifact,
        record: Record,
        seconds: float | None = None,
        kept: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the metadata of one artifact.

        Args:
            artifact: the artifact.
            record: its record.
            seconds: the time that it took; None where nothing had to be made.
            kept: its pictures and tables where they are known already, so that nothing is drawn.
        """
        described = self._described(artifact, record) if kept is None else kept
        statistics = {name: _shown(value) for name, value in record.statistics.items() if _is_shown(name, value)}
        pictures = {name: value for name, value in described.items() if _is_picture(value)}
        return {
            **{name: _shown(value) for name, value in described.items() if name not in pictures},
            **{name: statistics.pop(name) for name in self.shown.results if name in statistics},
            **pictures,
            **self._links(artifact),
            **_making(artifact, record, seconds),
            "dagster/uri": self.lineage.lake.path(artifact).as_uri(),
            **statistics,
            **_columns(artifact, record, bool(pictures)),
            "fingerprint": record.fingerprint,
            "provenance": MetadataValue.json(dict(record.provenance)),
        }

    def _described(self, artifact: Artifact, record: Record) -> Mapping[str, Any]:
        try:
            return self.shown.describe(self.lineage.lake, artifact, record) if self.shown.describe else {}
        except Exception as error:  # what is wrong with it is for the checks to say
            return {"not_shown": f"{type(error).__name__}: {error}"}

    def _links(self, artifact: Artifact) -> dict[str, MetadataValue]:
        """Return links to the sidecars of an artifact, by what their names end with, and to a report."""
        lake = self.lineage.lake
        name = artifact.partition or artifact.asset
        sidecars = self.lineage.recipes[artifact.asset].beside(lake, artifact)
        files = {path.name.removeprefix(f"{name}."): _link(path) for path in sidecars}
        return files | self._report

    @cached_property
    def _report(self) -> dict[str, MetadataValue]:
        lake = self.lineage.lake
        return {"report": _link(lake.path(REPORT))} if self.shown.describe and lake.exists(REPORT) else {}


def kept_pictures(
    instance: DagsterInstance, records: Mapping[Artifact, Record], shown: Presentation
) -> dict[Artifact, Mapping[str, Any]]:
    """Return the pictures and tables of artifacts that are left alone, by the artifacts for which none are to be drawn.

    They are those of the last materialization of a partition, if it recorded the same artifact: copying them costs a
    few milliseconds, drawing them takes the images. The first artifacts without one are not in the result, so that
    their pictures are drawn again; further ones have none.
    """
    partitioned = {artifact.partition: artifact for artifact in records if artifact.partition is not None}
    if not partitioned or shown.describe is None:
        return {}
    found: dict[Artifact, Mapping[str, Any]] = {}
    asset = next(iter(partitioned.values())).asset
    for partition, metadata in _latest_metadata(instance, AssetKey(asset), {*partitioned}):
        artifact = partitioned[partition]
        if _recorded(metadata) == (records[artifact].fingerprint, dict(records[artifact].provenance)):
            pictures = {name: value for name, value in metadata.items() if _is_picture(value)}
            if pictures:
                found[artifact] = pictures
    without = [artifact for artifact in partitioned.values() if artifact not in found]
    return found | {artifact: {} for artifact in without[_DRAWN_AGAIN:]}


def _latest_metadata(
    instance: DagsterInstance, asset: AssetKey, partitions: set[str]
) -> Iterator[tuple[str, Mapping[str, MetadataValue]]]:
    """Yield the metadata of the last materialization of each partition that has one."""
    latest = instance.get_latest_storage_id_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION, partitions)
    ids = [*latest.values()]
    for start in range(0, len(ids), _EVENTS_AT_ONCE):
        some = ids[start : start + _EVENTS_AT_ONCE]
        for record in instance.fetch_materializations(AssetRecordsFilter(asset, storage_ids=some), len(some)).records:
            if record.asset_materialization and record.asset_materialization.partition in partitions:
                yield record.asset_materialization.partition, record.asset_materialization.metadata


def _recorded(metadata: Mapping[str, MetadataValue]) -> tuple[Any, Any]:
    fingerprint, provenance = (metadata[name].value if name in metadata else None for name in _IDENTITY)
    return fingerprint, provenance


def _is_picture(value: Any) -> bool:
    return isinstance(value, MarkdownMetadataValue | TableMetadataValue)


def _is_shown(name: str, value: Any) -> bool:
    return name not in _HIDDEN_STATISTICS and value not in ({}, [], None)


def _shown(value: Any) -> Any:
    """Return a value as the UI shows it; numbers with few digits."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return MetadataValue.json(value) if isinstance(value, list | dict) else value


def _link(path: LakePath) -> MetadataValue:
    """Return a path, or the address at which a browser that is signed in to Google Cloud opens an object."""
    if isinstance(path, Path):
        return MetadataValue.path(path.absolute())
    return MetadataValue.url("https://storage.cloud.google.com/" + str(path).partition("://")[2])


def _making(artifact: Artifact, record: Record, seconds: float | None) -> dict[str, Any]:
    """Return whether the artifact was made, how fast, and how large it is."""
    made: dict[str, Any] = {"state": "up to date" if seconds is None else "made"}
    if seconds is not None:
        made["seconds"] = round(seconds, 2)
        worked_on = max(record.statistics.get("rows_in", 0), record.rows or 0)
        if worked_on and seconds > 0:
            made[_rate_name(artifact.asset)] = round(worked_on / seconds, 2)
    return made | {"megabytes": round(record.bytes / 1e6, 3)}


def _rate_name(asset: str) -> str:
    spec = TABLES.get(asset)
    of_images = spec is not None and ("data" in spec.columns.names or bool(spec.vectors))
    return "images_per_second" if of_images else "rows_per_second"


def _columns(artifact: Artifact, record: Record, pictures: bool) -> dict[str, Any]:
    """Return the number of rows and the columns of a table.

    The UI shows `dagster/column_schema` above all metadata, where it would push pictures below the fold.
    """
    if record.rows is None:
        return {}
    rows = "dagster/row_count" if artifact.partition is None else "dagster/partition_row_count"
    return {rows: record.rows, "columns" if pictures else "dagster/column_schema": _column_schema(artifact.asset)}


def _column_schema(asset: str) -> TableSchema:
    return TableSchema(
        columns=[
            TableColumn(
                name=column.name,
                type=str(column.type),
                description=(column.metadata or {}).get(b"description", b"").decode(),
                constraints=TableColumnConstraints(nullable=column.nullable),
            )
            for column in TABLES[asset].columns
        ]
    )
