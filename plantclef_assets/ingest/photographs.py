"""Raw shards: the published bytes of photographs and plots, read once and kept as they are.

Only headers are looked at here; what a full decoding finds is set aside where images are decoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantclef_assets.ingest.sources import Read, open_source
from plantclef_assets.lake.schemas import PLOT_IMAGES, RAW_IMAGES
from plantclef_assets.lake.shards import Shard, ShardWriter, write_shard
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.vision.decoding import UndecodableImage, read_size

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 64, 32 * 2**20


@dataclass(frozen=True)
class RawImages:
    """Makes shards of raw_images: the photographs of a shard's part of the manifest.

    Attributes:
        lake: where to write, and where the manifest is.
        location: the source that the manifest lists (see `sources.open_source`).
        cache: the folder for what belongs to archives.
        max_pixels: photographs with more pixels are set aside.
    """

    lake: Lake
    location: str
    cache: str
    max_pixels: int

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


@dataclass(frozen=True)
class PlotImages:
    """Makes shards of plot_images: the files of a shard's part of the plot manifest, with their upright sizes.

    Attributes:
        lake: where to write, and where the manifest is.
        location: the source that the manifest lists (see `sources.open_source`).
        cache: the folder for what belongs to archives.
        max_pixels: plots with more pixels are set aside.
    """

    lake: Lake
    location: str
    cache: str
    max_pixels: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard; unreadable, empty, foreign or oversized files go to quarantine."""
        with (
            open_source(self.location, Path(self.cache)).reading() as read,
            write_shard(self.lake, shard, PLOT_IMAGES) as table,
        ):
            for rows in _manifest_rows(self.lake, "plot_manifest", shard):
                usable = _read_photographs(read, rows, "plot_id", self.max_pixels, table)
                table.add(
                    [
                        {"plot_id": row["plot_id"], "width": width, "height": height, "data": data}
                        for row, data, (width, height) in usable
                    ]
                )


def _manifest_rows(lake: Lake, manifest: str, shard: Shard) -> Iterator[list[dict[str, Any]]]:
    """Give the rows of a shard's part, as many at once as fit into memory."""
    rows: list[dict[str, Any]] = []
    size = 0
    for batch in lake.read(Artifact(manifest), filters=[("shard", "=", shard.artifact.partition)]).to_batches(
        max_chunksize=_ROWS_AT_ONCE
    ):
        for row in batch.to_pylist():
            if rows and (len(rows) == _ROWS_AT_ONCE or size + row["bytes"] > _BYTES_AT_ONCE):
                yield rows
                rows, size = [], 0
            rows.append(row)
            size += row["bytes"]
    if rows:
        yield rows


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
            table.set_aside(place, row[name], "unreadable", str(error.strerror or error))
        except UndecodableImage as error:
            table.set_aside(place, row[name], error.reason, error.detail)
        else:
            yield row, data, size
