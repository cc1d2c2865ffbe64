"""Shards of unchanged photographs: raw_images, plot_images and inbox_plots.

Only image headers are checked here; what cannot be decoded completely is quarantined where it is decoded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from plantclef_assets.images.decoding import UndecodableImage, read_size
from plantclef_assets.ingest.deliveries import content_digest
from plantclef_assets.ingest.sources import Read, open_source
from plantclef_assets.lake.schemas import PLOT_IMAGES, RAW_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, ShardWriter, write_shard

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 64, 32 * 2**20


@dataclass(frozen=True)
class ReadingConfig:
    """What the bytes of images from a source depend on; it is recorded in their provenance.

    Attributes:
        max_pixels: photographs with more pixels are quarantined.
    """

    max_pixels: int


@dataclass(frozen=True)
class _SourceImages:
    """Common fields of the classes that make shards from a source.

    Attributes:
        lake: the lake, with the manifest or the deliveries.
        location: the source (see `sources.open_source`).
        cache: the folder for indexes and repacked archives.
        config: see there.
    """

    lake: Lake
    location: str
    cache: str
    config: ReadingConfig


class RawImages(_SourceImages):
    """Makes shards of raw_images: the photographs of a shard according to the manifest."""

    def __call__(self, shard: Shard) -> None:
        """Write one shard; unreadable, empty, foreign or oversized files go to quarantine."""
        columns = [name for name in RAW_IMAGES.columns.names if name != "data"]
        with (
            open_source(self.location, Path(self.cache)).reading() as read,
            write_shard(self.lake, shard, RAW_IMAGES) as table,
        ):
            for rows in _manifest_rows(self.lake, "training_manifest", shard):
                usable = _read_photographs(read, rows, "image_name", self.config.max_pixels, table)
                table.add([{name: row[name] for name in columns} | {"data": data} for row, data, _ in usable])


class PlotImages(_SourceImages):
    """Makes shards of plot_images: the plots of a shard according to the manifest, with their upright sizes."""

    def __call__(self, shard: Shard) -> None:
        """Write one shard; unreadable, empty, foreign or oversized files go to quarantine."""
        with (
            open_source(self.location, Path(self.cache)).reading() as read,
            write_shard(self.lake, shard, PLOT_IMAGES) as table,
        ):
            for rows in _manifest_rows(self.lake, "plot_manifest", shard):
                usable = _read_photographs(read, rows, "plot_id", self.config.max_pixels, table)
                table.add([_plot_row(*one) for one in usable])


class ChangedInboxError(OSError):
    """A delivered photograph was changed in the inbox, or removed from it."""


class InboxPlots(_SourceImages):
    """Makes shards of inbox_plots: one delivery each, with the upright sizes of the photographs."""

    def __call__(self, shard: Shard) -> None:
        """Write one shard; foreign or oversized files go to quarantine.

        Raises:
            ChangedInboxError: a file is missing, or its content has changed since it was delivered.
            SourceError: there is no such inbox.
        """
        with (
            open_source(self.location, Path(self.cache)).reading() as read,
            write_shard(self.lake, shard, PLOT_IMAGES) as table,
        ):
            rows = self.lake.read(Artifact("inbox_delivery", shard.artifact.partition)).to_pylist()
            for some in _in_batches({**row, "archive": None} for row in rows):
                usable = _read_photographs(
                    partial(self._as_delivered, read), some, "plot_id", self.config.max_pixels, table
                )
                table.add([_plot_row(*one) for one in usable])

    def _as_delivered(self, read: Read, rows: Sequence[Mapping[str, Any]]) -> list[bytes | OSError]:
        contents = read(rows)
        for row, data in zip(rows, contents, strict=True):
            if isinstance(data, OSError) or content_digest(data) != row["digest"]:
                raise ChangedInboxError(
                    f"{row['source']} in the inbox '{self.location}' is missing or has changed since it was delivered; "
                    "put the original back under this name, and other photographs under other names"
                )
        return contents


def _plot_row(row: Mapping[str, Any], data: bytes, size: tuple[int, int]) -> dict[str, Any]:
    return {"plot_id": row["plot_id"], "width": size[0], "height": size[1], "data": data}


def _manifest_rows(lake: Lake, manifest: str, shard: Shard) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a shard in a manifest, in batches whose photographs fit into memory."""
    part = lake.read(Artifact(manifest), filters=[("shard", "=", shard.artifact.partition)])
    return _in_batches(row for batch in part.to_batches(max_chunksize=_ROWS_AT_ONCE) for row in batch.to_pylist())


def _in_batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in batches whose photographs fit into memory."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == _ROWS_AT_ONCE or size + row["bytes"] > _BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row["bytes"]
    if batch:
        yield batch


def _read_photographs(
    read: Read, rows: list[dict[str, Any]], name: str, max_pixels: int, table: ShardWriter
) -> Iterator[tuple[dict[str, Any], bytes, tuple[int, int]]]:
    """Yield row, bytes and upright size of each readable photograph; the others are quarantined."""
    for row, data in zip(rows, read(rows), strict=True):
        table.rows_in += 1
        place = f"{row['archive']}:{row['source']}" if row["archive"] else row["source"]
        try:
            if isinstance(data, OSError):
                raise data
            size = read_size(data, max_pixels=max_pixels)
        except OSError as error:
            table.quarantine(place, row[name], "unreadable", str(error.strerror or error))
        except UndecodableImage as error:
            table.quarantine(place, row[name], error.reason, error.detail)
        else:
            yield row, data, size
