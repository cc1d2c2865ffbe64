"""Raw shards: the published bytes of photographs and plots, read once and kept as they are.

Only headers are looked at here; what a full decoding finds is set aside where images are decoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantclef_assets.lake.schemas import PLOT_IMAGES, RAW_IMAGES
from plantclef_assets.lake.shards import Shard, write_shard
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.vision.decoding import UndecodableImage, read_size

_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class RawImages:
    """Makes shards of raw_images: the files of a shard's part of the manifest."""

    lake: Lake
    folder: Path
    max_pixels: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard; unreadable, empty, foreign or oversized files go to quarantine."""
        columns = ("image_name", "species_id", "obs_id", "organ", "learn_tag")
        with write_shard(self.lake, shard, RAW_IMAGES) as table:
            for rows in _manifest_rows(self.lake, "training_manifest", shard):
                kept = []
                for row in rows:
                    data = _read_photograph(self.folder, row, row["image_name"], self.max_pixels, table)
                    if data is not None:
                        kept.append({name: row[name] for name in columns} | {"data": data[0]})
                table.add(kept)


@dataclass(frozen=True)
class PlotImages:
    """Makes shards of plot_images: the files of a shard's part of the plot manifest, with their upright sizes."""

    lake: Lake
    folder: Path
    max_pixels: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard; unreadable, empty, foreign or oversized files go to quarantine."""
        with write_shard(self.lake, shard, PLOT_IMAGES) as table:
            for rows in _manifest_rows(self.lake, "plot_manifest", shard):
                kept = []
                for row in rows:
                    data = _read_photograph(self.folder, row, row["plot_id"], self.max_pixels, table)
                    if data is not None:
                        content, (width, height) = data
                        kept.append({"plot_id": row["plot_id"], "width": width, "height": height, "data": content})
                table.add(kept)


def _manifest_rows(lake: Lake, manifest: str, shard: Shard) -> Iterator[list[dict[str, Any]]]:
    rows = lake.read(Artifact(manifest), filters=[("shard", "=", shard.artifact.partition)])
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield batch.to_pylist()


def _read_photograph(
    folder: Path, row: dict[str, Any], name: str, max_pixels: int, table: Any
) -> tuple[bytes, tuple[int, int]] | None:
    table.rows_in += 1
    try:
        data = (folder / row["source"]).read_bytes()
        return data, read_size(data, max_pixels=max_pixels)
    except OSError as error:
        table.set_aside(row["source"], name, "unreadable", str(error.strerror or error))
    except UndecodableImage as error:
        table.set_aside(row["source"], name, error.reason, error.detail)
    return None
