"""Raw shards: the published bytes of photographs and plots, read once and kept as they are.

Only headers are looked at here; what a full decoding finds is set aside where images are decoded.
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
from plantclef_assets.lake.shards import Shard, ShardWriter, write_shard
from plantclef_assets.lake.store import Artifact, Lake

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 64, 32 * 2**20


@dataclass(frozen=True)
class _FromSource:
    """What makes shards of the photographs of a source.

    Attributes:
        lake: where to write, and where what lists the photographs is.
        location: their source (see `sources.open_source`).
        cache: the folder for what belongs to archives.
        max_pixels: photographs with more pixels are set aside.
    """

    lake: Lake
    location: str
    cache: str
    max_pixels: int


class RawImages(_FromSource):
    """Makes shards of raw_images: the photographs of a shard's part of the manifest."""

    def __call__(self, shard: Shard) -> None:
        """Write one shard; unreadable, empty, foreign or oversized files go to quarantine."""
        columns = [name for name in RAW_IMAGES.columns.names if name != "data"]
        with (
            open_source(self.location, Path(self.cache)).reading() as read,
            write_shard(self.lake, shard, RAW_IMAGES) as table,
        ):
            for rows in _manifest_rows(self.lake, "training_manifest", shard):
                usable = _read_photographs(read, rows, "image_name", self.max_pixels, table)
                table.add([{name: row[name] for name in columns} | {"data": data} for row, data, _ in usable])


class PlotImages(_FromSource):
    """Makes shards of plot_images: the files of a shard's part of the plot manifest, with their upright sizes."""

    def __call__(self, shard: Shard) -> None:
        """Write one shard; unreadable, empty, foreign or oversized files go to quarantine."""
        with (
            open_source(self.location, Path(self.cache)).reading() as read,
            write_shard(self.lake, shard, PLOT_IMAGES) as table,
        ):
            for rows in _manifest_rows(self.lake, "plot_manifest", shard):
                usable = _read_photographs(read, rows, "plot_id", self.max_pixels, table)
                table.add([_plot_row(*one) for one in usable])


class ChangedInboxError(OSError):
    """A photograph is no longer in the inbox as it was delivered."""


class InboxPlots(_FromSource):
    """Makes shards of inbox_plots: the files of one delivery each, with their upright sizes."""

    def __call__(self, shard: Shard) -> None:
        """Write one shard; foreign or oversized files go to quarantine.

        Raises:
            ChangedInboxError: a file is gone, or has other bytes than those that were delivered.
            SourceError: there is no such inbox.
        """
        with (
            open_source(self.location, Path(self.cache)).reading() as read,
            write_shard(self.lake, shard, PLOT_IMAGES) as table,
        ):
            rows = self.lake.read(Artifact("inbox_delivery", shard.artifact.partition)).to_pylist()
            for some in _in_batches({**row, "archive": None} for row in rows):
                usable = _read_photographs(partial(self._as_delivered, read), some, "plot_id", self.max_pixels, table)
                table.add([_plot_row(*one) for one in usable])

    def _as_delivered(self, read: Read, rows: Sequence[Mapping[str, Any]]) -> list[bytes | OSError]:
        contents = read(rows)
        for row, data in zip(rows, contents, strict=True):
            if isinstance(data, OSError) or content_digest(data) != row["digest"]:
                raise ChangedInboxError(
                    f"{row['source']} is no longer in the inbox '{self.location}' as it was delivered; put it back "
                    "under this name, and other photographs under other names"
                )
        return contents


def _plot_row(row: Mapping[str, Any], data: bytes, size: tuple[int, int]) -> dict[str, Any]:
    return {"plot_id": row["plot_id"], "width": size[0], "height": size[1], "data": data}


def _manifest_rows(lake: Lake, manifest: str, shard: Shard) -> Iterator[list[dict[str, Any]]]:
    """Give the rows of a shard's part of a manifest, as many at once as fit into memory."""
    part = lake.read(Artifact(manifest), filters=[("shard", "=", shard.artifact.partition)])
    return _in_batches(row for batch in part.to_batches(max_chunksize=_ROWS_AT_ONCE) for row in batch.to_pylist())


def _in_batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Give rows as many at once as their photographs fit into memory."""
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
    """Give row, bytes and upright size of what is a picture; the rest is set aside."""
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
